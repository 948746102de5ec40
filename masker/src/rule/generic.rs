//! Rules: what many formats share: assignments, headers, urls, keys and credential files.

use super::{Class, Rule, Severity, Shape};
use crate::validate::{CREDENTIALS, ENTROPY_MEDIUM, JWT, MIXED, PASSWORD_LIKE, SECRET_LIKE};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::new("jwt", &["eyJ"], Shape::Token { class: Class::Base64UrlDot, min: 20, max: 65536 })
        .says("JSON web token", "`eyJ` (base64 of an opening brace and a quote) and a run of letters, digits, `_`, `-` and `.` whose first part decodes to a JSON object and which has three parts or more. All of the token is replaced, header too. Source: RFC 7519 and RFC 7515 section 7.1, compact serialization.")
        .checked(JWT)
        .tried(&["token {jwt} end"], &["eyJhbGci.short.x", "eyJhbGciOiJIUzI1NiJ9"]),
    Rule::token("jwt-base64", &["ZXlK"], Class::Base64, (80, 65536))
        .says("JSON web token, in base64 once more", "`ZXlK`, then 80 to 65536 base64 characters. Source: RFC 7519 in RFC 4648 base64, as in Kubernetes Secrets.")
        .checked(MIXED)
        .tried(&["key ZXlK{b64:80} end"], &["ZXlK{b64:4} is short"]),
    Rule::new("pem", &["-----BEGIN"], Shape::Pem)
        .says("PEM private key; without an END line, everything after BEGIN", "`-----BEGIN`, a label that ends in `PRIVATE KEY` (RSA, EC, ENCRYPTED, OPENSSH, PGP or none), and everything up to the end of the line with `-----END`. Without an END line everything after BEGIN is replaced. Certificates and public keys are left. Source: RFC 7468 sections 2, 10 and 11, OpenSSH `PROTOCOL.key`, RFC 9580 section 6.2.")
        .of(Severity::Critical)
        .tried(&["-----BEGIN RSA PRIVATE KEY-----\n{pem:3}\n-----END RSA PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n{pem:2}", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{pem:2}\n-----END PGP PRIVATE KEY BLOCK-----"], &["-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"]),
    Rule::new("url-password", &["://"], Shape::Url)
        .says("password in the userinfo of a URL", "`scheme://user:password@`: what stands between the first colon of the userinfo and the last `@` before a `/`, `?`, `#`, quote or space. Only the password is replaced. A password in the query (`?password=`) is found by `assignment`. Source: RFC 3986 section 3.2.1; PostgreSQL documentation, libpq connection URIs (IPv6 hosts, several hosts).")
        .checked(PASSWORD_LIKE)
        .tried(&["postgresql://u:{alnum:4}%40{alnum:8}@[2001:db8::1]/d", "redis://:{alnum:12}@h:6379", "amqp://u:{alnum:9}@h1:1,h2:2/v", "https://{!hex:8}:{hex:8}@gems.contribsys.com/"], &["https://example.org/a:b@c", "see http://host:80/", "postgresql://u:${{PW}@h/d"]),
    Rule::new("assignment", &["password", "passwd", "pwd", "passphrase", "passwort", "sslpassword", "pgpassword", "mysql_pwd", "redis_password", "requirepass"], Shape::Assignment)
        .says("value given to a password", "A name that ends in one of the anchors, then `=`, `:` or `=>`, then a value: between quotes (doubled and backslashed quotes belong to it), or up to white space, `,`, `;`, `&`, a quote or a closing bracket. Only the value is replaced. Types and constants of code (`None`, `str`), variables and parameters (`$1`, `${PW}`), calls and templates are left, and so is a name without a sign after it. Source: libpq's connection keywords `password` and `sslpassword` and variable `PGPASSWORD` (PostgreSQL documentation, libpq), JSON members, `.env` files, JDBC and ADO.NET connection strings, `my.cnf`.")
        .checked(PASSWORD_LIKE)
        .of(Severity::Medium)
        .tried(&["host=h password={alnum:7}", "PGPASSWORD={alnum:9} psql", "password = '{alnum:3}\\'{alnum:4}'", "jdbc:x?user=a&password={alnum:8}&ssl=1", "[client]\npassword=\"{alnum:12}\"", "Server=h;Uid=u;Pwd={alnum:10};"], &["the password is long", "password = $1", "password: str = None", "password = getpass(x)", "password=${{PW}"]),
    Rule::new("assignment-secret", &["secret", "token", "api_key", "apikey", "api-key", "private_key", "client_secret", "access_key", "auth_key", "secret_key", "signing_key", "encryption_key", "credential", "credentials", "authtoken", "_auth", "accesskey", "secretkey", "x-api-key", "api_secret"], Shape::Assignment)
        .says("value given to a name such as token, secret or api_key", "As `assignment`, for names that code uses for other things too: the value must look like a secret, eight bytes or more with digits or marks beside letters, and no word of a short dictionary. Source: JSON members, `.env` and `.npmrc` files, HTTP header names of many vendors.")
        .checked(SECRET_LIKE)
        .of(Severity::Medium)
        .tried(&["\"api_key\": \"{alnum:16}\"", "client_secret={url:24}", "X-Api-Key: {alnum:20}", "_authToken={hex:36}"], &["secretary: Bob", "token = tokenize(line)", "token: str", "secret: \"changeme\"", "api_key = os.environ"]),
    Rule::new("authorization", &["bearer ", "basic ", "authorization: token ", "authorization: apikey "], Shape::Following { class: Class::Token68, min: 8 })
        .says("credentials of an Authorization header", "The scheme `Bearer`, `Basic`, `Token` or `ApiKey`, one space, then at least 8 characters of token68 that look like a secret or like base64. Only what follows the scheme is replaced. Digest and Negotiate parameters are not read. Source: RFC 9110, section 11.4 (credentials), RFC 6750 (Bearer), RFC 7617 (Basic).")
        .checked(CREDENTIALS)
        .tried(&["Authorization: Bearer {url:24}", "Authorization: Basic {b64:16}", "authorization: token {hex:40}"], &["bearer of news", "basic idea", "basic understanding"]),
    Rule::new("cookie", &["cookie: session", "cookie: sid", "sessionid=", "session_id=", "jsessionid=", "phpsessid=", "connect.sid="], Shape::Following { class: Class::Loose, min: 16 })
        .says("session cookie", "A session cookie of the usual names, 16 bytes and more of a token. Source: RFC 6265; the session cookies of Java servlets, PHP, Django and Express.")
        .checked(ENTROPY_MEDIUM)
        .tried(&["Cookie: a=b; sessionid={low:32}", "JSESSIONID={HEX:32}"], &["sessionid=short"]),
    Rule::new("command-password", &["-u", "--user", "-pw", "--password", "--proxy-user"], Shape::UserPassword)
        .says("user:password after an option", "`-u user:password`, `--user` or `--proxy-user`, as curl takes it: the password, three bytes and more. Paths, ports and variables are left. Source: curl manual, option `--user`.")
        .checked(PASSWORD_LIKE)
        .tried(&["curl -u bob:{alnum:10} https://h/", "curl --user \"bob:{alnum:10}\" x"], &["sort -u a:b", "docker run -u 1000:1000 x", "tar -u /a:/b"]),
    Rule::new("pgpass", &[":5432:", ":5433:", ":5434:", ":6432:", ":*:"], Shape::PgPass)
        .says("password of a .pgpass line", "`host:port:database:user:password` with port 5432 to 5434, 6432 or `*`: the last field, up to the end of the line; `\\:` and `\\\\` are data. Source: PostgreSQL documentation, \"The Password File\".")
        .checked(PASSWORD_LIKE)
        .tried(&["db.example.com:5432:app:bob:{alnum:12}", "*:*:*:bob:{alnum:6}\\:{alnum:6}\n"], &["http://h:5432/x", "h:5432:only:three"]),
    Rule::new("netrc", &["machine ", "default "], Shape::Netrc)
        .says("password of a .netrc entry", "`machine` and a name, or `default`, then pairs of words: the one after `password`, when `login` or `account` came before it. Source: the `ftp` manual, file `.netrc`; GNU inetutils.")
        .checked(PASSWORD_LIKE)
        .tried(&["machine h.example.com\n  login bob\n  password {alnum:12}\n", "default login anonymous password {alnum:9}"], &["a machine with a password", "default password"]),
    Rule::new("kubernetes-secret", &["stringData", "data"], Shape::Manifest)
        .says("values of a Kubernetes Secret", "The values of `stringData:`, and of `data:` when every one of them is base64 of eight characters or more, in YAML or in JSON, as one match from the first value to the last. Source: Kubernetes documentation, \"Secrets\".")
        .of(Severity::Critical)
        .tried(&["apiVersion: v1\ndata:\n  password: {alnum:16}\nkind: Secret\n", "kind: Secret\nstringData:\n  pw: {alnum:11}\n  user: bob\n", "\"kind\":\"Secret\",\"data\":{{\"k\":\"{alnum:24}\"}}"], &["data:\n  key: some text here\nkind: ConfigMap\n", "the data: of it", "\"data\": [1, 2]"]),
    Rule::new("docker-auth", &["\"auth\""], Shape::Named { class: Class::Base64, min: 12, max: 400 })
        .says("registry credentials of a Docker config file", "The member `auth` of `auths`: base64 of user and password. Source: Docker documentation, `config.json`.")
        .checked(MIXED)
        .tried(&["{{\"auths\":{{\"r\":{{\"auth\":\"{b64:28}\"}}}}}}"], &["\"auth\": true", "\"auth\": \"oauth\""]),
    Rule::new("scram", &["SCRAM-SHA-256$", "SCRAM-SHA-512$"], Shape::Token { class: Class::Scram, min: 20, max: 1024 })
        .says("SCRAM verifier", "`SCRAM-SHA-256$`, then iterations, `:`, salt, `$`, stored key, `:`, server key, in base64. All of the verifier is replaced: it can be attacked offline. Source: PostgreSQL documentation, catalog `pg_authid`, column `rolpassword`; RFC 5803 has the same fields.")
        .tried(&["SCRAM-SHA-256$4096:{b64:24}${b64:43}=:{b64:43}="], &["SCRAM-SHA-256$"]),
    Rule::token("md5", &["md5"], Class::Hex, (32, 32))
        .says("md5 password verifier", "`md5`, then exactly 32 hexadecimal digits. It can be used to log in, so it is as good as the password. A bare digest without `md5` is left. Source: PostgreSQL documentation, catalog `pg_authid`, column `rolpassword`: the digest of password and role name.")
        .tried(&["key md5{hex:32} end"], &["md5(x)", "{hex:32}"]),
    Rule::new("crypt-hash", &["$2a$", "$2b$", "$2y$", "$argon2id$", "$argon2i$", "$6$", "$5$", "$y$"], Shape::Following { class: Class::Crypt, min: 40 })
        .says("password hash in crypt form", "What follows the method of a crypt hash: cost, salt and digest, 40 characters and more of letters, digits, `.`, `/`, `$`, `=`, `,` and `+`. It can be attacked offline. Source: crypt(5) manual (bcrypt, SHA-crypt, yescrypt) and the PHC string format (argon2).")
        .tried(&["$2b$12${alnum:53}", "root:$6${alnum:8}${alnum:86}:19000", "$argon2id$v=19$m=65536,t=3,p=4${alnum:22}${alnum:43}"], &["cost $5$ only", "$6$ and more"]),
];
