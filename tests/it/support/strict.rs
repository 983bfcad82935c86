//! A second reading of HTTP/1.1 requests, as RFC 9112 has it and no wider: what a test believes
//! a message says. Written for the tests, from the RFC, with nothing of the gateway's in it.

/// A request, to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The head with its empty line, byte for byte.
    pub head: Vec<u8>,
    pub method: String,
    pub target: String,
    pub version: String,
    /// Names in lower case, values without the space around them.
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Message {
    /// Every value of a field.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| value.as_slice()).collect()
    }

    /// The only value of a field, as text.
    pub fn get(&self, name: &str) -> Option<String> {
        match self.all(name)[..] {
            [value] => Some(String::from_utf8_lossy(value).into_owned()),
            _ => None,
        }
    }

    /// What stands behind the scheme, where the target has one.
    fn absolute(&self) -> Option<&str> {
        let (_, rest) = self.target.split_once("://")?;
        (!self.target.starts_with('/')).then_some(rest)
    }

    /// The host that the request is for: the target's, else the field's.
    pub fn host(&self) -> String {
        match self.absolute() {
            Some(rest) => rest.split(['/', '?']).next().unwrap().to_owned(),
            None => self.get("host").unwrap_or_default(),
        }
    }

    /// The target as a server is asked for it: without the host.
    pub fn path(&self) -> String {
        let Some(rest) = self.absolute() else {
            return self.target.clone();
        };
        match rest.find(['/', '?']).map(|at| &rest[at..]) {
            None if self.method == "OPTIONS" => "*".to_owned(),
            None => "/".to_owned(),
            Some(query) if query.starts_with('?') => format!("/{query}"),
            Some(path) => path.to_owned(),
        }
    }

    /// Whether the sender sends nothing behind this message.
    pub fn is_last(&self) -> bool {
        let options: Vec<String> = self
            .all("connection")
            .iter()
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(|option| String::from_utf8_lossy(trim(option)).to_ascii_lowercase())
            .collect();
        let has = |wanted: &str| options.iter().any(|option| option == wanted);
        has("close") || self.version == "HTTP/1.0" && !has("keep-alive")
    }
}

/// What the beginning of some bytes is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A request, of so many bytes.
    Whole(Box<Message>, usize),
    /// The beginning of one.
    Partial,
    /// Neither, for this reason.
    Bad(&'static str),
}

type Step<T> = Result<T, Reading>;

/// Reads one request.
pub fn read(bytes: &[u8]) -> Reading {
    match message(bytes) {
        Ok((message, length)) => Reading::Whole(Box::new(message), length),
        Err(other) => other,
    }
}

/// Reads every request there is: those that are whole, and what the rest is.
pub fn read_all(mut bytes: &[u8]) -> (Vec<Message>, Option<Reading>) {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        match read(bytes) {
            Reading::Whole(message, length) => {
                let last = message.is_last();
                messages.push(*message);
                bytes = &bytes[length..];
                if last {
                    break;
                }
            }
            other => return (messages, Some(other)),
        }
    }
    (messages, None)
}

fn message(bytes: &[u8]) -> Step<(Message, usize)> {
    let mut at = 0;
    while bytes[at..].starts_with(b"\r\n") {
        at += 2;
    }
    let begin = at;
    let line = next_line(bytes, &mut at)?;
    let (method, target, version) = request_line(line)?;
    let fields = field_lines(bytes, &mut at)?;
    let head = bytes[begin..at].to_vec();
    let mut message = Message {
        head,
        method,
        target,
        version,
        fields,
        body: Vec::new(),
    };
    check_host(&message)?;
    message.body = body(&message, bytes, &mut at)?;
    Ok((message, at))
}

/// A line that ends with CR and LF, neither of which is anywhere else in it.
fn next_line<'a>(bytes: &'a [u8], at: &mut usize) -> Step<&'a [u8]> {
    let rest = &bytes[*at..];
    let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return Err(Reading::Partial);
    };
    match rest[end..] {
        [b'\r', b'\n', ..] => {
            *at += end + 2;
            Ok(&rest[..end])
        }
        [b'\r'] => Err(Reading::Partial),
        _ => Err(Reading::Bad("a bare CR or LF")),
    }
}

fn is_token(text: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(legal)
}

fn request_line(line: &[u8]) -> Step<(String, String, String)> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        return Err(Reading::Bad("a request line has three words"));
    };
    if !is_token(method) {
        return Err(Reading::Bad("the method is no token"));
    }
    let visible = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    if target.is_empty() || !target.iter().all(visible) {
        return Err(Reading::Bad("the target has other than visible ASCII"));
    }
    if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(Reading::Bad("the version is not 1.0 or 1.1"));
    }
    let text = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
    let (method, target) = (text(method), text(target));
    let form = target.starts_with('/')
        || target == "*" && method == "OPTIONS"
        || ["http://", "https://"].iter().any(|s| {
            target
                .get(..s.len())
                .is_some_and(|t| t.eq_ignore_ascii_case(s))
        });
    if !form {
        return Err(Reading::Bad("the target has no form of a target"));
    }
    Ok((method, target, text(version)))
}

fn field_lines(bytes: &[u8], at: &mut usize) -> Step<Vec<(String, Vec<u8>)>> {
    let mut fields = Vec::new();
    loop {
        let line = next_line(bytes, at)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(Reading::Bad("a field without a colon"));
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return Err(Reading::Bad("a field's name is no token"));
        }
        if !value.iter().all(|byte| is_field_byte(*byte)) {
            return Err(Reading::Bad("a control byte in a field"));
        }
        let name = String::from_utf8(name.to_ascii_lowercase()).unwrap();
        fields.push((name, trim(value).to_vec()));
    }
}

fn is_field_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn check_host(message: &Message) -> Step<()> {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    let valid = |host: &[u8]| {
        let digits = host.rsplit(|byte| *byte == b':').next().unwrap();
        let port = host.contains(&b':') && !host.ends_with(b"]");
        !host.is_empty()
            && !host.starts_with(b":")
            && host.iter().all(legal)
            && (!port || digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit))
    };
    match message.all("host")[..] {
        [host] if valid(host) && valid(message.host().as_bytes()) => Ok(()),
        _ => Err(Reading::Bad("not one valid host")),
    }
}

fn body(message: &Message, bytes: &[u8], at: &mut usize) -> Step<Vec<u8>> {
    let (codings, lengths) = (
        message.all("transfer-encoding"),
        message.all("content-length"),
    );
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(Vec::new()),
        ([], [first, others @ ..]) => {
            let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
            let number = |text: &[u8]| String::from_utf8_lossy(text).parse::<u64>().ok();
            let length = number(first).filter(|_| digits(first));
            let Some(length) = length else {
                return Err(Reading::Bad("a length that is no number"));
            };
            if others
                .iter()
                .any(|other| !digits(other) || number(other) != Some(length))
            {
                return Err(Reading::Bad("two lengths"));
            }
            exactly(bytes, at, usize::try_from(length).unwrap_or(usize::MAX))
        }
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => {
            if message.version == "HTTP/1.0" {
                return Err(Reading::Bad("chunks in HTTP/1.0"));
            }
            chunks(bytes, at)
        }
        _ => Err(Reading::Bad("codings other than chunked alone")),
    }
}

fn exactly(bytes: &[u8], at: &mut usize, length: usize) -> Step<Vec<u8>> {
    let rest = &bytes[*at..];
    let Some(body) = rest.get(..length) else {
        return Err(Reading::Partial);
    };
    *at += length;
    Ok(body.to_vec())
}

fn chunks(bytes: &[u8], at: &mut usize) -> Step<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = chunk_size(next_line(bytes, at)?)?;
        if size == 0 {
            field_lines(bytes, at)?;
            return Ok(body);
        }
        body.extend(exactly(bytes, at, size)?);
        match bytes[*at..] {
            [b'\r', b'\n', ..] => *at += 2,
            [] | [b'\r'] => return Err(Reading::Partial),
            _ => return Err(Reading::Bad("more than the size in a chunk")),
        }
    }
}

fn chunk_size(line: &[u8]) -> Step<usize> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let extension = trim(&line[digits..]);
    let valid = extension.is_empty() && line.len() == digits
        || extension.starts_with(b";") && extension.iter().all(|byte| is_field_byte(*byte));
    let size = std::str::from_utf8(&line[..digits]).unwrap();
    match usize::from_str_radix(size, 16) {
        Ok(size) if valid && digits <= 16 => Ok(size),
        _ => Err(Reading::Bad("a chunk without a size")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &str) -> Reading {
        match read(bytes.as_bytes()) {
            Reading::Whole(message, _) => panic!("{bytes:?} is a request: {message:?}"),
            other => other,
        }
    }

    #[test]
    fn the_strict_reading_takes_what_the_rfc_does() {
        let whole = "\r\nPOST http://A:1?x HTTP/1.1\r\nHost:\t h \r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nx: y\r\n\r\n";
        let Reading::Whole(message, length) = read(whole.as_bytes()) else {
            panic!("{:?}", read(whole.as_bytes()));
        };

        assert_eq!((message.body.as_slice(), length), (&b"ok"[..], whole.len()));
        assert_eq!(
            (message.host().as_str(), message.path().as_str()),
            ("A:1", "/?x")
        );
        for cut in 1..whole.len() {
            assert_eq!(reason(&whole[..cut]), Reading::Partial, "{cut}");
        }
    }

    #[test]
    fn the_strict_reading_takes_nothing_else() {
        for bad in [
            "GET / HTTP/1.1\nHost: h\n\n",
            "GET /#x HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\nx",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\nx\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        ] {
            assert!(matches!(reason(bad), Reading::Bad(_)), "{bad:?}");
        }
    }
}
