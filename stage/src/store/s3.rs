//! S3 with Object Lock. The lock rides on default headers, which are signed: one client per day of retention.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, Checksum, S3ConditionalPut};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody, ReqwestConnector};
use object_store::{BackoffConfig, Certificate, ClientOptions, HeaderMap, ObjectStore, RetryConfig};
use parking_lot::Mutex;

use super::config::{LockMode, StoreConfig};
use super::error::{StoreError, StoreErrorKind};

const DAY_MS: i64 = 86_400_000;
/// One request; an object of evidence is put in one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// Tries of one call after the first, and how long they may take together.
const RETRIES: usize = 5;
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);

/// Gives every client the same connections.
#[derive(Debug, Clone)]
struct Shared(HttpClient);

impl HttpConnector for Shared {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

pub(super) struct S3 {
    plain: AmazonS3,
    builder: AmazonS3Builder,
    options: ClientOptions,
    http: HttpClient,
    bucket_url: String,
    mode: Option<&'static str>,
    days: i64,
    region: String,
    url: String,
    locked: Mutex<Option<(i64, Arc<AmazonS3>)>>,
}

/// Timeouts, whether plain HTTP is allowed, and whom to trust.
fn options(config: &StoreConfig) -> Result<ClientOptions, StoreError> {
    let mut options = ClientOptions::new().with_allow_http(config.allow_http).with_timeout(REQUEST_TIMEOUT);
    if let Some(path) = &config.ca_file {
        let wrong =
            |reason: String| StoreError::config(&config.url, format!("store.ca_file `{}`: {reason}", path.display()));
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
        if authorities.is_empty() {
            return Err(wrong("holds no certificate".into()));
        }
        options = authorities.into_iter().fold(options, ClientOptions::with_root_certificate);
    }
    Ok(options)
}

impl S3 {
    pub(super) fn open(config: &StoreConfig, bucket: &str) -> Result<Self, StoreError> {
        let wrong = |reason: String| StoreError::config(&config.url, reason);
        if bucket.is_empty() {
            return Err(wrong("names no bucket".into()));
        }
        if !(1..=36_500).contains(&config.lock_days) {
            return Err(wrong(format!("store.lock_days is {}, must be 1 to 36500", config.lock_days)));
        }
        // refused when a provider is installed already: then that one serves
        drop(rustls::crypto::ring::default_provider().install_default());
        let options = options(config)?;
        let http = ReqwestConnector::default().connect(&options).map_err(|error| wrong(error.to_string()))?;
        let mut builder = match (&config.access_key_id, &config.secret_access_key) {
            (Some(id), Some(secret)) => {
                let read =
                    |source: &crate::config::SecretSource| source.read().map_err(|error| wrong(error.to_string()));
                let (id, secret) = (read(id)?, read(secret)?);
                AmazonS3Builder::new()
                    .with_access_key_id(id.expose().trim())
                    .with_secret_access_key(secret.expose().trim())
            }
            (None, None) => AmazonS3Builder::from_env(),
            _ => return Err(wrong("store.access_key_id and store.secret_access_key go together".into())),
        };
        let mut bucket_url = format!("https://{bucket}.s3.{}.amazonaws.com/", config.region);
        if !config.endpoint.is_empty() {
            let endpoint = config.endpoint.trim_end_matches('/');
            builder = builder.with_endpoint(endpoint);
            bucket_url = format!("{endpoint}/{bucket}");
        }
        let retry =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT };
        let builder = builder
            .with_bucket_name(bucket)
            .with_region(&config.region)
            .with_allow_http(config.allow_http)
            .with_client_options(options.clone())
            .with_http_connector(Shared(http.clone()))
            .with_checksum_algorithm(Checksum::SHA256)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retry);
        let plain = builder.clone().build().map_err(|error| wrong(error.to_string()))?;
        let mode = match config.lock_mode {
            LockMode::None => None,
            LockMode::Governance => Some("GOVERNANCE"),
            LockMode::Compliance => Some("COMPLIANCE"),
        };
        Ok(Self {
            plain,
            builder,
            options,
            http,
            bucket_url,
            mode,
            days: i64::from(config.lock_days),
            region: config.region.clone(),
            url: config.url.clone(),
            locked: Mutex::new(None),
        })
    }

    pub(super) fn plain(&self) -> &dyn ObjectStore {
        &self.plain
    }

    /// The client whose puts are locked until the end of the day that is `lock_days` after `now_ms`.
    pub(super) fn locked(&self, now_ms: i64) -> Result<Arc<AmazonS3>, StoreError> {
        let today = now_ms.div_euclid(DAY_MS);
        let mut cached = self.locked.lock();
        if let Some((day, client)) = cached.as_ref()
            && *day == today
        {
            return Ok(client.clone());
        }
        let wrong = |reason: String| StoreError::config(&self.url, reason);
        let until = format!("{}T00:00:00Z", schemas::layout::day_text((today + 1 + self.days) * DAY_MS));
        let mut headers = HeaderMap::new();
        let mode = HeaderValue::from_static(self.mode.unwrap_or("COMPLIANCE"));
        headers.insert("x-amz-object-lock-mode", mode);
        let until = HeaderValue::try_from(until).map_err(|error| wrong(error.to_string()))?;
        headers.insert("x-amz-object-lock-retain-until-date", until);
        let options = self.options.clone().with_default_headers(headers);
        let client = self.builder.clone().with_client_options(options).build();
        let client = Arc::new(client.map_err(|error| wrong(error.to_string()))?);
        *cached = Some((today, client.clone()));
        Ok(client)
    }

    /// Asks the bucket for its Object Lock configuration.
    pub(super) async fn check_lock(&self, config: &StoreConfig) -> Result<(), StoreError> {
        const OPERATION: &str = "check the lock of";
        let failed = |kind, reason: String| StoreError { operation: OPERATION, name: self.url.clone(), kind, reason };
        let (status, body) = self.object_lock().await.map_err(|reason| failed(StoreErrorKind::Retriable, reason))?;
        let enabled = status == 200 && body.contains("<ObjectLockEnabled>Enabled</ObjectLockEnabled>");
        let default = enabled && body.contains("<DefaultRetention>");
        let advice = match status {
            403 => return Err(failed(StoreErrorKind::Denied, "may not read the bucket's lock configuration".into())),
            500.. => return Err(failed(StoreErrorKind::Retriable, format!("the store answers {status}"))),
            _ if enabled && (self.mode.is_some() || default) => return Ok(()),
            _ if self.mode.is_none() && config.allow_unlocked => {
                tracing::warn!(store = %self.url, "evidence is not locked: store.allow_unlocked is set");
                return Ok(());
            }
            _ if enabled => "the bucket has no default retention; set store.lock_mode",
            _ => "the bucket has no Object Lock; make one with Object Lock, it cannot be added by a put",
        };
        let more = "or, to go without a lock, set store.lock_mode = \"none\" and store.allow_unlocked = true";
        Err(failed(StoreErrorKind::Config, format!("{advice}, {more}")))
    }

    async fn object_lock(&self) -> Result<(u16, String), String> {
        let credential = self.plain.credentials().get_credential().await.map_err(|error| error.to_string())?;
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(format!("{}?object-lock=", self.bucket_url))
            .body(HttpRequestBody::empty())
            .map_err(|error| error.to_string())?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| error.to_string())?;
        let answer = self.http.execute(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = answer.into_body().bytes().await.map_err(|error| error.to_string())?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
