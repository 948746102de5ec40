//! Builders of the messages the proxy sends itself; each appends one whole message to `out`.

use super::startup::{CANCEL_REQUEST, MINOR_MAX, SSL_REQUEST};

/// Appends a message: type, length, then what `body` appends.
pub fn message(out: &mut Vec<u8>, message_type: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(message_type);
    packet(out, body);
}

fn packet(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(at..at + 4) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

/// Appends a zero-terminated string, cut at a zero byte inside it.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text.split(|byte| *byte == 0).next().unwrap_or_default());
    out.push(0);
}

fn authentication(out: &mut Vec<u8>, code: i32) {
    message(out, b'R', |out| out.extend_from_slice(&code.to_be_bytes()));
}

/// `AuthenticationOk`.
pub fn authentication_ok(out: &mut Vec<u8>) {
    authentication(out, 0);
}

/// `AuthenticationCleartextPassword`.
pub fn authentication_cleartext(out: &mut Vec<u8>) {
    authentication(out, 3);
}

/// `PasswordMessage`: cleartext, or the MD5 answer.
pub fn password(out: &mut Vec<u8>, password: &[u8]) {
    message(out, b'p', |out| string(out, password));
}

/// `SASLInitialResponse`.
pub fn sasl_initial_response(out: &mut Vec<u8>, mechanism: &str, response: &[u8]) {
    message(out, b'p', |out| {
        string(out, mechanism.as_bytes());
        out.extend_from_slice(&i32::try_from(response.len()).unwrap_or(i32::MAX).to_be_bytes());
        out.extend_from_slice(response);
    });
}

/// `SASLResponse`.
pub fn sasl_response(out: &mut Vec<u8>, response: &[u8]) {
    message(out, b'p', |out| out.extend_from_slice(response));
}

/// `ParameterStatus`.
pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    message(out, b'S', |out| {
        string(out, name.as_bytes());
        string(out, value.as_bytes());
    });
}

/// `BackendKeyData`; the key is 4 bytes for protocol 3.0 and up to 256 for 3.2.
pub fn backend_key_data(out: &mut Vec<u8>, process: i32, key: &[u8]) {
    message(out, b'K', |out| {
        out.extend_from_slice(&process.to_be_bytes());
        out.extend_from_slice(key);
    });
}

/// `ReadyForQuery` with status `I`, `T` or `E`.
pub fn ready_for_query(out: &mut Vec<u8>, status: u8) {
    message(out, b'Z', |out| out.push(status));
}

/// Fields of an error or notice the proxy sends. Detail and hint are left out when empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// `ERROR`, `FATAL`, `NOTICE`, `WARNING`.
    pub severity: &'a str,
    /// SQLSTATE.
    pub sqlstate: &'a str,
    /// Primary message.
    pub message: &'a str,
    /// Detail.
    pub detail: &'a str,
    /// Hint.
    pub hint: &'a str,
}

fn report(out: &mut Vec<u8>, message_type: u8, report: &Report<'_>) {
    message(out, message_type, |out| {
        let fields = [
            (b'S', report.severity),
            (b'V', report.severity),
            (b'C', report.sqlstate),
            (b'M', report.message),
            (b'D', report.detail),
            (b'H', report.hint),
        ];
        for (kind, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
            out.push(kind);
            string(out, text.as_bytes());
        }
        out.push(0);
    });
}

/// `ErrorResponse`.
pub fn error_response(out: &mut Vec<u8>, fields: &Report<'_>) {
    report(out, b'E', fields);
}

/// `NoticeResponse`.
pub fn notice_response(out: &mut Vec<u8>, fields: &Report<'_>) {
    report(out, b'N', fields);
}

/// `NegotiateProtocolVersion`: the newest minor version spoken, and the options not known.
pub fn negotiate_protocol_version(out: &mut Vec<u8>, options: &[&str]) {
    message(out, b'v', |out| {
        out.extend_from_slice(&((3u32 << 16) | u32::from(MINOR_MAX)).to_be_bytes());
        out.extend_from_slice(&u32::try_from(options.len()).unwrap_or(u32::MAX).to_be_bytes());
        options.iter().for_each(|name| string(out, name.as_bytes()));
    });
}

/// `Terminate`.
pub fn terminate(out: &mut Vec<u8>) {
    message(out, b'X', |_| {});
}

/// `Sync`.
pub fn sync(out: &mut Vec<u8>) {
    message(out, b'S', |_| {});
}

/// `Query`.
pub fn query(out: &mut Vec<u8>, text: &[u8]) {
    message(out, b'Q', |out| string(out, text));
}

/// `StartupMessage` of protocol 3.`minor`.
pub fn startup_message(out: &mut Vec<u8>, minor: u16, parameters: &[(&str, &str)]) {
    packet(out, |out| {
        out.extend_from_slice(&((3u32 << 16) | u32::from(minor)).to_be_bytes());
        for (name, value) in parameters {
            string(out, name.as_bytes());
            string(out, value.as_bytes());
        }
        out.push(0);
    });
}

/// `SSLRequest`.
pub fn ssl_request(out: &mut Vec<u8>) {
    packet(out, |out| out.extend_from_slice(&SSL_REQUEST.to_be_bytes()));
}

/// `CancelRequest`.
pub fn cancel_request(out: &mut Vec<u8>, process: i32, key: &[u8]) {
    packet(out, |out| {
        out.extend_from_slice(&CANCEL_REQUEST.to_be_bytes());
        out.extend_from_slice(&process.to_be_bytes());
        out.extend_from_slice(key);
    });
}

#[cfg(test)]
mod tests {
    use super::super::parse::{Authentication, ErrorFields, backend_key_data as key, parameter_status as status};
    use super::super::startup::Startup;
    use super::*;

    #[test]
    fn what_is_built_reads_back() {
        let mut out = Vec::new();
        authentication_cleartext(&mut out);
        assert_eq!(out, b"R\0\0\0\x08\0\0\0\x03");
        assert_eq!(Authentication::read(&out[5..]), Ok(Authentication::Cleartext));
        out.clear();
        parameter_status(&mut out, "TimeZone", "UTC\0evil");
        assert_eq!(status(&out[5..]), Ok((&b"TimeZone"[..], &b"UTC"[..])));
        out.clear();
        backend_key_data(&mut out, 9, &[5; 32]);
        assert_eq!(key(&out[5..]), Ok((9, &[5u8; 32][..])));
        out.clear();
        let fields = Report { severity: "ERROR", sqlstate: "42501", message: "denied", detail: "", hint: "ask a dba" };
        error_response(&mut out, &fields);
        let error = ErrorFields::read(&out[5..]);
        assert_eq!(
            (error.sqlstate(), error.message, error.detail, error.hint),
            ("42501", &b"denied"[..], &b""[..], &b"ask a dba"[..])
        );
        out.clear();
        ssl_request(&mut out);
        assert_eq!(Startup::read(&out), Ok(Startup::SslRequest));
        out.clear();
        startup_message(&mut out, 0, &[("user", "ada")]);
        let Ok(Startup::Session(message)) = Startup::read(&out) else { panic!("session expected") };
        assert_eq!((message.minor, message.parameter("user"), message.negotiates()), (0, Some("ada"), false));
    }

    #[test]
    fn fixed_messages_have_their_published_bytes() {
        let mut out = Vec::new();
        authentication_ok(&mut out);
        ready_for_query(&mut out, b'I');
        terminate(&mut out);
        sync(&mut out);
        sasl_initial_response(&mut out, "SCRAM-SHA-256", b"n,,");
        negotiate_protocol_version(&mut out, &["_pq_.x"]);
        assert_eq!(
            out,
            b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05IX\0\0\0\x04S\0\0\0\x04p\0\0\0\x19SCRAM-SHA-256\0\0\0\0\x03n,,\
              v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0"
        );
    }
}
