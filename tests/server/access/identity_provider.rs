//! An identity provider for tests: RSA keys and signatures by openssl, and a JWKS endpoint.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// An RSA key pair in a temporary folder, and the algorithm that it signs with.
pub struct Key {
    folder: tempfile::TempDir,
    id: String,
    algorithm: &'static str,
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    /// Returns a new key for RS256.
    pub fn new(id: &str) -> Self {
        Self::with_algorithm(id, "RS256")
    }

    /// Returns a new key for one of RS256 to RS512 and PS256 to PS512.
    pub fn with_algorithm(id: &str, algorithm: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments =
            ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-quiet", "-out", "key.pem"];
        let made = Command::new("openssl").args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { folder, id: id.to_string(), algorithm }
    }

    /// Returns the public key as a JWK (RFC 7517).
    pub fn public(&self) -> Value {
        let arguments = ["rsa", "-in", "key.pem", "-noout", "-modulus"];
        let output = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let digits = text.trim().strip_prefix("Modulus=").unwrap();
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let modulus: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        json!({"kty": "RSA", "use": "sig", "alg": self.algorithm, "kid": self.id, "n": base64(modulus), "e": "AQAB"})
    }

    /// Signs a token of alice that expires in `seconds`, which may be negative.
    pub fn token(&self, scope: &str, seconds: i64) -> String {
        self.token_of("alice", scope, seconds)
    }

    /// Signs a token of a subject that expires in `seconds`, which may be negative.
    pub fn token_of(&self, subject: &str, scope: &str, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let claims =
            json!({"iss": "https://id.example", "aud": "kiln", "sub": subject, "exp": now + seconds, "scope": scope});
        let header = json!({"alg": self.algorithm, "typ": "JWT", "kid": self.id});
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let (padding, bits) = self.algorithm.split_at(2);
        // RFC 7518, section 3.5: the salt has the length of the digest, which openssl calls -1.
        let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"];
        let mut signing = Command::new("openssl")
            .args(["dgst", &format!("-sha{bits}"), "-sign", "key.pem"])
            .args(if padding == "PS" { &pss[..] } else { &[] })
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

/// An endpoint with public keys that can be replaced.
pub struct JwksEndpoint {
    pub address: String,
    text: Arc<Mutex<String>>,
    requests: Arc<Mutex<usize>>,
    gate: Arc<Mutex<()>>,
}

impl JwksEndpoint {
    pub fn new(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let endpoint = Self { address, text: Arc::default(), requests: Arc::default(), gate: Arc::default() };
        endpoint.publish(keys);
        let (text, requests, gate) =
            (Arc::clone(&endpoint.text), Arc::clone(&endpoint.requests), Arc::clone(&endpoint.gate));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).unwrap();
                *requests.lock().unwrap() += 1;
                drop(gate.lock().unwrap());
                let text = text.lock().unwrap().clone();
                let length = text.len();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
                stream.write_all(head.as_bytes()).unwrap();
            }
        });
        endpoint
    }

    /// Replaces the published keys.
    pub fn publish(&self, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        *self.text.lock().unwrap() = json!({"keys": keys}).to_string();
    }

    /// Delays all responses until the guard is dropped.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap()
    }

    /// Returns the number of requests so far.
    pub fn requests(&self) -> usize {
        *self.requests.lock().unwrap()
    }
}
