//! What a request says of itself in headers, and whether its body says the same.
//!
//! Only in an era whose headers are more than hints. What is compared is what somebody decides
//! by; a header that is missing is for the server to miss.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::facts::{Kind, RequestFacts};
use super::method::Method;

/// The headers that repeat a part of the body, each as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mirrored<'a> {
    /// `MCP-Protocol-Version`.
    pub version: Option<&'a [u8]>,
    /// `Mcp-Method`.
    pub method: Option<&'a [u8]>,
    /// `Mcp-Name`.
    pub name: Option<&'a [u8]>,
}

/// The header that the body disagrees with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The version that the body claims is another one.
    #[error("MCP-Protocol-Version is not the version that the body names")]
    Version,
    /// The body's method is another one.
    #[error("Mcp-Method is not the method that the body names")]
    Method,
    /// The body names something else, or the header cannot be read.
    #[error("Mcp-Name is not the name in the body, or cannot be read")]
    Name,
}

impl Mirrored<'_> {
    /// The method that the header names.
    pub fn method(&self) -> Option<Method> {
        self.method.map(Method::parse)
    }

    /// What the header names, as it is in the body; nothing for one that cannot be read.
    pub fn name(&self) -> Option<Cow<'_, [u8]>> {
        decoded(self.name?)
    }

    /// Whether the body of a request says what its headers say.
    ///
    /// # Errors
    /// [`Mismatch`] names the first header that it contradicts.
    pub fn check(&self, facts: &RequestFacts) -> Result<(), Mismatch> {
        match facts.kind {
            // What a client only tells is sent on by its headers like what it asks.
            Kind::Request | Kind::Notification => {}
            // No one method is that of several messages, which this era has none of.
            Kind::Batch if self.method.is_some() => return Err(Mismatch::Method),
            Kind::Batch | Kind::Response => return Ok(()),
        }
        if let (Some(version), Some(claimed)) = (self.version, facts.claimed.as_deref())
            && version != claimed.as_bytes()
        {
            return Err(Mismatch::Version);
        }
        if let Some(method) = self.method
            && !facts.is_method(method)
        {
            return Err(Mismatch::Method);
        }
        if let (Some(name), Some(known)) = (self.name, facts.mirrored_name()) {
            let said = decoded(name).ok_or(Mismatch::Name)?;
            if *said != *known.as_bytes() {
                return Err(Mismatch::Name);
            }
        }
        Ok(())
    }
}

/// The value of a header that may be written as base64; `None` when it says so and is not.
fn decoded(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = value
        .strip_prefix(b"=?base64?")
        .and_then(|rest| rest.strip_suffix(b"?="));
    match inner {
        None => Some(Cow::Borrowed(value)),
        Some(inner) => STANDARD.decode(inner).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use crate::mcp::RequestPeek;

    use super::*;

    fn facts(body: &str) -> RequestFacts {
        let mut peek = RequestPeek::new();
        peek.feed(body.as_bytes());
        peek.finish().unwrap()
    }

    fn checked(method: &str, name: Option<&str>, body: &str) -> Result<(), Mismatch> {
        let mirrored = Mirrored {
            version: Some(b"2026-07-28"),
            method: Some(method.as_bytes()),
            name: name.map(str::as_bytes),
        };
        mirrored.check(&facts(body))
    }

    const CALL: &str = r#"{"id":1,"method":"tools/call","params":{"name":"a","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

    #[test]
    fn headers_that_repeat_the_body_are_fine() {
        for (method, name, body) in [
            ("tools/call", Some("a"), CALL),
            ("tools/call", Some("=?base64?YQ==?="), CALL),
            ("tools/call", None, CALL),
            (
                "prompts/get",
                Some("p"),
                r#"{"id":1,"method":"prompts/get","params":{"name":"p"}}"#,
            ),
            (
                "resources/read",
                Some("x://y"),
                r#"{"id":1,"method":"resources/read","params":{"uri":"x://y"}}"#,
            ),
            (
                "tasks/cancel",
                Some("t1"),
                r#"{"id":1,"method":"tasks/cancel","params":{"taskId":"t1"}}"#,
            ),
            ("vendor/own", None, r#"{"id":1,"method":"vendor/own"}"#),
            ("vendor/own", None, r#"{"method":"vendor\u002fown"}"#),
            (
                "notifications/cancelled",
                None,
                r#"{"method":"notifications/cancelled"}"#,
            ),
            ("tools/call", None, r#"{"id":1,"result":{}}"#),
        ] {
            assert_eq!(checked(method, name, body), Ok(()), "{method} {name:?}");
        }
    }

    #[test]
    fn the_first_contradiction_is_named() {
        let other = CALL.replace("2026-07-28", "2025-11-25");
        let batch = format!("[{CALL}]");
        for (method, name, body, mismatch) in [
            ("tools/call", Some("a"), &*other, Mismatch::Version),
            ("tools/list", Some("b"), CALL, Mismatch::Method),
            ("vendor/own", Some("a"), CALL, Mismatch::Method),
            ("tools/list", None, &*batch, Mismatch::Method),
            ("Tools/Call", Some("a"), CALL, Mismatch::Method),
            (
                "vendor/own",
                None,
                r#"{"id":1,"method":"vendor/other"}"#,
                Mismatch::Method,
            ),
            (
                "tools/call",
                None,
                r#"{"method":"notifications/cancelled"}"#,
                Mismatch::Method,
            ),
            (
                "notifications/cancelled",
                None,
                r#"{"method":"notifications/cancelled","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2025-11-25"}}}"#,
                Mismatch::Version,
            ),
            ("tools/call", Some("b"), CALL, Mismatch::Name),
            ("tools/call", Some("A"), CALL, Mismatch::Name),
            ("tools/call", Some("=?base64?Yg==?="), CALL, Mismatch::Name),
            ("tools/call", Some("=?base64?Y?="), CALL, Mismatch::Name),
            ("tools/call", Some("=?BASE64?YQ==?="), CALL, Mismatch::Name),
        ] {
            let found = checked(method, name, body);

            assert_eq!(found, Err(mismatch), "{method} {name:?}");
        }
    }
}
