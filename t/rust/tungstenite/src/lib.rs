//! A stand-in for the crate tungstenite, which Debian 12 does not have: only what
//! the program of docs/clients.md uses of it, by the same names, written for
//! t/clients.t and of no other use. The same program has passed the same test
//! with the real tungstenite, 0.20.1 and 0.29.0.
//!
//! It speaks RFC 6455 as far as the test needs that: ws:// only, always the same
//! key and mask, and messages in one frame. What it does not know is an error, so
//! that the test fails.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::{fmt, result};

use client::IntoClientRequest;
use http::Request;
use stream::MaybeTlsStream;

// the example of RFC 6455, section 1.3
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

pub type Result<T> = result::Result<T, Error>;

#[derive(Debug)]
pub enum Error {
    Io(io::Error),
    Refused(String),
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        Error::Io(e)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Io(e) => e.fmt(f),
            Error::Refused(why) => why.fmt(f),
        }
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::Refused(why.into()))
}

pub mod http {
    use std::collections::BTreeMap;

    pub struct HeaderValue(pub(crate) String);

    impl HeaderValue {
        pub fn from_str(value: &str) -> Result<HeaderValue, String> {
            if value.bytes().any(|c| !(b' '..=b'~').contains(&c)) {
                return Err(format!("no header value: {value:?}"));
            }
            Ok(HeaderValue(value.to_string()))
        }
    }

    pub struct Request {
        pub(crate) host: String,
        pub(crate) path: String,
        pub(crate) headers: BTreeMap<&'static str, HeaderValue>,
    }

    impl Request {
        pub fn headers_mut(&mut self) -> &mut BTreeMap<&'static str, HeaderValue> {
            &mut self.headers
        }
    }
}

pub mod client {
    use super::{http::Request, refuse, Result};

    pub trait IntoClientRequest {
        fn into_client_request(self) -> Result<Request>;
    }

    impl IntoClientRequest for &str {
        fn into_client_request(self) -> Result<Request> {
            match self.strip_prefix("ws://").and_then(|s| s.split_once('/')) {
                Some((host, path)) => Ok(Request {
                    host: host.to_string(),
                    path: format!("/{path}"),
                    headers: Default::default(),
                }),
                None => refuse(format!("no URL: {self}")),
            }
        }
    }

    impl IntoClientRequest for Request {
        fn into_client_request(self) -> Result<Request> {
            Ok(self)
        }
    }
}

pub mod stream {
    #[non_exhaustive]
    pub enum MaybeTlsStream {
        Plain(std::net::TcpStream),
    }
}

#[non_exhaustive]
pub enum Message {
    Text(String),
}

impl Message {
    pub fn text(text: String) -> Message {
        Message::Text(text)
    }
}

pub struct WebSocket(MaybeTlsStream);

pub fn connect(request: impl IntoClientRequest) -> Result<(WebSocket, ())> {
    let Request { host, path, headers } = request.into_client_request()?;

    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n"
    );
    for (name, value) in headers {
        head += &format!("{name}: {}\r\n", value.0);
    }
    head += "\r\n";

    let mut tcp = TcpStream::connect(host)?;
    tcp.write_all(head.as_bytes())?;

    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte)?;
        reply.push(byte[0]);
    }

    let reply = String::from_utf8_lossy(&reply);
    if !reply.starts_with("HTTP/1.1 101 ") || !reply.contains(ACCEPT) {
        return refuse(reply);
    }

    Ok((WebSocket(MaybeTlsStream::Plain(tcp)), ()))
}

impl WebSocket {
    pub fn get_ref(&self) -> &MaybeTlsStream {
        &self.0
    }

    pub fn send(&mut self, message: Message) -> Result<()> {
        let Message::Text(text) = message;

        self.write(TEXT, text.as_bytes())
    }

    pub fn read(&mut self) -> Result<Message> {
        loop {
            let [head, length] = self.take::<2>()?;
            let length = match length {
                126 => u16::from_be_bytes(self.take()?) as usize,
                127 => u64::from_be_bytes(self.take()?) as usize,
                length => length as usize,
            };

            let mut data = vec![0; length];
            self.tcp().read_exact(&mut data)?;

            match head ^ 0x80 {
                TEXT => match String::from_utf8(data) {
                    Ok(text) => return Ok(Message::Text(text)),
                    Err(e) => return refuse(e.to_string()),
                },
                PING => self.write(PONG, &data)?,
                _ => return refuse(format!("a frame {head:#x}: {data:?}")),
            }
        }
    }

    fn write(&mut self, opcode: u8, data: &[u8]) -> Result<()> {
        let mut frame = vec![0x80 | opcode];

        match data.len() {
            n @ 0..=125 => frame.push(0x80 | n as u8),
            n @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((n as u16).to_be_bytes());
            }
            _ => return refuse("too long for a test"),
        }
        frame.extend(MASK);
        frame.extend(data.iter().zip(MASK.iter().cycle()).map(|(d, m)| d ^ m));

        Ok(self.tcp().write_all(&frame)?)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.tcp().read_exact(&mut bytes)?;

        Ok(bytes)
    }

    fn tcp(&mut self) -> &mut TcpStream {
        let MaybeTlsStream::Plain(tcp) = &mut self.0;

        tcp
    }
}
