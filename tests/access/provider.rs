//! An identity provider: RSA keys that openssl makes, tokens that it signs, and a page with its public keys.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A key pair in a folder of its own.
pub struct Key {
    folder: tempfile::TempDir,
    id: String,
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    pub fn new(id: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments =
            ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-quiet", "-out", "key.pem"];
        let made = Command::new("openssl").args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { folder, id: id.to_string() }
    }

    /// The public key, as RFC 7517 writes it.
    pub fn public(&self) -> Value {
        let arguments = ["rsa", "-in", "key.pem", "-noout", "-modulus"];
        let output = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let digits = text.trim().strip_prefix("Modulus=").unwrap();
        let byte = |place| u8::from_str_radix(&digits[place..place + 2], 16).unwrap();
        let modulus: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "n": base64(modulus), "e": "AQAB"})
    }

    /// A token that ends in so many seconds.
    pub fn token(&self, scope: &str, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let claims =
            json!({"iss": "https://id.example", "aud": "kiln", "sub": "alice", "exp": now + seconds, "scope": scope});
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.id});
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let mut signing = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign", "key.pem"])
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        signing.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
        let signature = signing.wait_with_output().unwrap();
        assert!(signature.status.success());
        format!("{message}.{}", base64(signature.stdout))
    }
}

/// A page with public keys, which can be exchanged.
pub struct Page {
    pub address: String,
    text: Arc<Mutex<String>>,
    asked: Arc<Mutex<usize>>,
    gate: Arc<Mutex<()>>,
}

impl Page {
    pub fn new(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let page = Self { address, text: Arc::default(), asked: Arc::default(), gate: Arc::default() };
        page.publish(keys);
        let (text, asked, gate) = (Arc::clone(&page.text), Arc::clone(&page.asked), Arc::clone(&page.gate));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).unwrap();
                *asked.lock().unwrap() += 1;
                drop(gate.lock().unwrap());
                let text = text.lock().unwrap().clone();
                let length = text.len();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
                stream.write_all(head.as_bytes()).unwrap();
            }
        });
        page
    }

    pub fn publish(&self, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        *self.text.lock().unwrap() = json!({"keys": keys}).to_string();
    }

    /// Keeps the page from answering until the guard is dropped.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap()
    }

    /// How often the page was asked for.
    pub fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}
