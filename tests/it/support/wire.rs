//! HTTP/1.1 as bytes: just enough to read what the other side really wrote.

use std::io::{self, BufRead, Read};

/// The fields of a head, in their order and spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The first value of a field, whatever its case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// Every value of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.0.iter().filter(named).map(|(_, value)| value.as_str())
    }

    /// How often a field occurs.
    pub fn count(&self, name: &str) -> usize {
        self.all(name).count()
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    /// Whether the sender closes after this message.
    pub fn closes(&self) -> bool {
        self.has_token("connection", "close")
    }
}

/// Reads a start line and its fields; `None` when the other side closed before the first byte.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Option<(String, Fields)>> {
    let Some(start) = read_line(from)? else {
        return Ok(None);
    };
    let mut fields = Vec::new();
    loop {
        let line = read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(Some((start, Fields(fields))));
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

/// How much of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Done,
    /// This many bytes.
    Length(u64),
    /// Chunks until an empty one.
    Chunks,
    /// Bytes until the other side closes.
    UntilClose,
}

impl Body {
    /// The body that a request's head announces.
    pub fn of_request(fields: &Fields) -> Self {
        if fields.has_token("transfer-encoding", "chunked") {
            return Self::Chunks;
        }
        fields.get("content-length").map_or(Self::Done, |length| {
            Self::Length(length.parse().expect("content-length is a number"))
        })
    }

    /// The body that an answer's head announces.
    pub fn of_answer(method: &str, status: u16, fields: &Fields) -> Self {
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Self::Done;
        }
        match Self::of_request(fields) {
            Self::Done => Self::UntilClose,
            known @ (Self::Length(_) | Self::Chunks | Self::UntilClose) => known,
        }
    }

    /// The next piece as it arrives: at most one chunk, never waiting for more than one read.
    pub fn read_piece(&mut self, from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
        match *self {
            Self::Done => Ok(None),
            Self::Length(0) => {
                *self = Self::Done;
                Ok(None)
            }
            Self::Length(left) => {
                let piece = read_some(from, left)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                *self = Self::Length(left - piece.len() as u64);
                Ok(Some(piece))
            }
            Self::Chunks => self.read_chunk(from),
            Self::UntilClose => {
                let piece = read_some(from, u64::MAX)?;
                if piece.is_none() {
                    *self = Self::Done;
                }
                Ok(piece)
            }
        }
    }

    fn read_chunk(&mut self, from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
        let line = read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let digits = line.split(';').next().unwrap_or("").trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut chunk = vec![0; usize::try_from(size).expect("a chunk fits into memory")];
        from.read_exact(&mut chunk)?;
        if size > 0 {
            read_line(from)?;
            return Ok(Some(chunk));
        }
        while !read_line(from)?
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .is_empty()
        {}
        *self = Self::Done;
        Ok(None)
    }

    /// Everything that is left.
    pub fn read_all(&mut self, from: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = self.read_piece(from)? {
            all.extend(piece);
        }
        Ok(all)
    }
}

fn read_some(from: &mut impl BufRead, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let ready = from.fill_buf()?.len() as u64;
    let mut piece = Vec::new();
    from.take(ready.min(limit)).read_to_end(&mut piece)?;
    Ok((!piece.is_empty()).then_some(piece))
}
