// An OpenID provider for tests, on 127.0.0.1 only. Environment: PORT, AUDIENCE, TTL (seconds an access token lives).
// People: alice (dba, sre) and bob (developers). No page is shown: the person is `login_hint` (or header x-login).
// Clients: proxy (secret; client credentials), app (public; code with PKCE, refresh), cli (public; code, device, refresh).
//
// Controls, which no real provider has (POST):
//   /ctl/login?user=alice[&client=app][&scope=..]  runs the code flow over HTTP against this very provider -> its tokens
//   /ctl/rotate     new keys sign, the old ones stay published     /ctl/drop    the old keys leave the key set
//   /ctl/groups?user=alice&groups=a,b        /ctl/block?user=alice
//   /ctl/down?ms=2000                        every answer of the provider is 503 for so long
//   /ctl/mint?alg=RS256&key=current|old|rogue[&kid=..][&typ=..]  body: JSON claims (null removes one) -> any token, good or bad
//   /ctl/keys       the key ids of the current keys
import { createHash, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import http from 'node:http';
import { importJWK, SignJWT } from 'jose';
import { Provider } from 'oidc-provider';

const port = Number(process.env.PORT);
const audience = process.env.AUDIENCE || 'sealtrail';
const ttl = Number(process.env.TTL || 300);
const issuer = `http://127.0.0.1:${port}`;
const redirect = 'http://127.0.0.1/callback';
const resource = 'urn:sealtrail';
const offered = 'openid offline_access profile email groups';

let generation = 0;
function makeKeys(prefix = '') {
  generation += 1;
  const make = (name, alg, type, options) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${prefix}${name}${generation}`,
  });
  return [make('rsa', 'RS256', 'rsa', { modulusLength: 2048 }), make('ec', 'ES256', 'ec', { namedCurve: 'P-256' })];
}
let current = makeKeys();
let old = [];
const rogue = makeKeys('rogue-');
const people = { alice: ['dba', 'sre'], bob: ['developers'] };
const blocked = new Set();
let downUntil = 0;

const person = (id) => ({ preferred_username: id, name: id, email: `${id}@example.test`, email_verified: true, groups: people[id] });

// The provider is built anew when its keys change, so what it remembers lives outside it.
const memory = new Map();
class Memory {
  constructor(kind) { this.kind = kind; }
  name(id) { return `${this.kind}:${id}`; }
  async upsert(id, payload, seconds) {
    const end = seconds ? Date.now() + seconds * 1000 : Infinity;
    memory.set(this.name(id), { payload, end });
    if (payload.uid) memory.set(`uid:${payload.uid}`, { payload: id, end });
    if (payload.userCode) memory.set(`code:${payload.userCode}`, { payload: id, end });
  }
  async find(id) {
    const held = memory.get(this.name(id));
    return held && held.end > Date.now() ? held.payload : undefined;
  }
  async findByUid(uid) { const held = memory.get(`uid:${uid}`); return held && this.find(held.payload); }
  async findByUserCode(code) { const held = memory.get(`code:${code}`); return held && this.find(held.payload); }
  async consume(id) { const held = memory.get(this.name(id)); if (held) held.payload.consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { memory.delete(this.name(id)); }
  async revokeByGrantId(grant) { for (const [name, held] of memory) if (held.payload?.grantId === grant) memory.delete(name); }
}

function build() {
  const code = ['authorization_code', 'refresh_token'];
  const provider = new Provider(issuer, {
    adapter: Memory,
    jwks: { keys: [...current, ...old] },
    clients: [
      { client_id: 'proxy', client_secret: 'proxy-test-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
      { client_id: 'app', token_endpoint_auth_method: 'none', application_type: 'native', redirect_uris: [redirect], response_types: ['code'], grant_types: code },
      { client_id: 'cli', token_endpoint_auth_method: 'none', application_type: 'native', redirect_uris: [redirect], response_types: ['code'],
        grant_types: [...code, 'urn:ietf:params:oauth:grant-type:device_code'] },
    ],
    scopes: offered.split(' '),
    claims: { openid: ['sub'], profile: ['preferred_username', 'name'], email: ['email', 'email_verified'], groups: ['groups'] },
    conformIdTokenClaims: false,
    findAccount: (context, id) => (!people[id] || blocked.has(id) ? undefined : { accountId: id, claims: () => ({ sub: id, ...person(id) }) }),
    extraTokenClaims: (context, token) => ({ azp: token.clientId, ...(people[token.accountId] ? person(token.accountId) : {}) }),
    extraParams: ['login_hint'],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: { AccessToken: ttl, ClientCredentials: ttl, IdToken: ttl, AuthorizationCode: 60, DeviceCode: 60, Interaction: 600, RefreshToken: 3600, Grant: 3600, Session: 3600 },
    interactions: { url: (context, interaction) => `/auto/${interaction.uid}` },
    loadExistingGrant: async (context) => {
      const { client, session, result } = context.oidc;
      const id = result?.consent?.grantId || session.grantIdFor(client.clientId);
      const grant = (id && (await provider.Grant.find(id))) || new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      // A scope in `scopes` has to be granted twice, else consent is asked for ever.
      grant.addOIDCScope(offered);
      grant.addResourceScope(resource, offered);
      await grant.save();
      return grant;
    },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      revocation: { enabled: true },
      userinfo: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope: offered, audience, accessTokenFormat: 'jwt', accessTokenTTL: ttl, jwt: { sign: { alg: 'RS256' } } }),
      },
    },
    cookies: { keys: ['test'] },
  });
  provider.on('server_error', (context, error) => console.error('server_error', error));
  return provider;
}
let provider = build();
let answer = provider.callback();
const rebuild = () => { provider = build(); answer = provider.callback(); };

// The code flow with PKCE, as a browser and a public client would do it, over HTTP.
async function login(user, client, scope) {
  const verifier = randomBytes(32).toString('base64url');
  const challenge = createHash('sha256').update(verifier).digest('base64url');
  const query = new URLSearchParams({ client_id: client, response_type: 'code', redirect_uri: redirect, scope, state: 'state', nonce: 'nonce',
    prompt: 'consent', code_challenge: challenge, code_challenge_method: 'S256', login_hint: user });
  const cookies = new Map();
  let next = `${issuer}/auth?${query}`;
  for (let step = 0; step < 8 && !next.startsWith(redirect); step += 1) {
    const reply = await fetch(next, { redirect: 'manual', headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') } });
    for (const cookie of reply.headers.getSetCookie()) { const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie); cookies.set(name, value); }
    if (!reply.headers.get('location')) throw new Error(`login stopped at ${reply.status}: ${await reply.text()}`);
    next = new URL(reply.headers.get('location'), next).href;
  }
  const back = new URL(next).searchParams;
  if (!back.get('code')) throw new Error(back.get('error') || 'no code');
  const form = new URLSearchParams({ grant_type: 'authorization_code', client_id: client, code: back.get('code'), redirect_uri: redirect, code_verifier: verifier });
  return (await fetch(`${issuer}/token`, { method: 'POST', body: form })).json();
}

async function mint({ alg = 'RS256', key = 'current', kid, typ = 'at+jwt' }, claims) {
  const now = Math.floor(Date.now() / 1000);
  const user = claims.sub || 'alice';
  const full = { iss: issuer, aud: audience, sub: user, iat: now, exp: now + ttl, jti: randomUUID(), ...(people[user] ? person(user) : {}), ...claims };
  for (const name of Object.keys(full)) if (full[name] === null) delete full[name];
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  if (alg === 'none') return `${part({ alg, typ })}.${part(full)}.`;
  const live = current.find((k) => k.alg === 'RS256');
  if (alg === 'HS256') return new SignJWT(full).setProtectedHeader({ alg, typ, kid: kid || live.kid }).sign(new TextEncoder().encode(live.n));
  const keys = { current, old: old.length ? old : current, rogue }[key];
  const chosen = keys.find((k) => k.alg === alg);
  return new SignJWT(full).setProtectedHeader({ alg, typ, kid: kid || chosen.kid }).sign(await importJWK(chosen, alg));
}

const read = (request) => new Promise((resolve) => { let text = ''; request.on('data', (part) => { text += part; }).on('end', () => resolve(text)); });

async function control(name, given, request) {
  switch (name) {
    case 'login': return login(given.user, given.client || 'app', given.scope || offered);
    case 'rotate': old = [...current, ...old]; current = makeKeys(); rebuild(); return { kids: [...current, ...old].map((k) => k.kid) };
    case 'drop': old = []; rebuild(); return { kids: current.map((k) => k.kid) };
    case 'keys': return { kids: current.map((k) => k.kid) };
    case 'groups': people[given.user] = given.groups ? given.groups.split(',') : []; return people;
    case 'block': blocked.add(given.user); return [...blocked];
    case 'down': downUntil = Date.now() + Number(given.ms); return {};
    case 'mint': return { token: await mint(given, JSON.parse((await read(request)) || '{}')) };
    default: throw new Error(`no control ${name}`);
  }
}

http.createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  const json = (value, status = 200) => { response.writeHead(status, { 'content-type': 'application/json' }); response.end(JSON.stringify(value)); };
  try {
    if (request.method === 'POST' && url.pathname.startsWith('/ctl/')) {
      return json(await control(url.pathname.slice(5), Object.fromEntries(url.searchParams), request));
    }
    if (Date.now() < downUntil) { response.statusCode = 503; return response.end('down'); }
    if (url.pathname.startsWith('/auto/')) {
      const { params } = await provider.interactionDetails(request, response);
      const user = params.login_hint || request.headers['x-login'] || 'alice';
      const known = people[user] && !blocked.has(user);
      const result = known ? { login: { accountId: user, amr: ['pwd'] }, consent: {} } : { error: 'access_denied', error_description: 'unknown user' };
      return await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: Boolean(known) });
    }
    return answer(request, response);
  } catch (error) {
    console.error(error);
    return response.headersSent ? response.end() : json({ error: String(error.message) }, 500);
  }
}).listen(port, '127.0.0.1');
