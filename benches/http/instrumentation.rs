//! What it costs to measure, to write the access log, and to keep answers of pictures that never come again: servers in
//! processes of their own, loaded in turns.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kiln::api::MetricsAccess;
use kiln::telemetry::logging::{self, LogFormat};

use crate::client::rate_of_new;

/// Tells this program to be one of the servers.
const ROLE: &str = "KILN_BENCH_SERVER";
/// The servers, and the one that each is compared with.
const ROLES: [(&str, usize); 4] =
    [("nothing", 0), ("metrics", 0), ("metrics and log", 0), ("metrics and kept answers", 1)];
const CONNECTIONS: usize = 16;

struct Server {
    child: Child,
    address: SocketAddr,
}

/// What a server does besides answering.
pub struct Role {
    pub metrics: MetricsAccess,
    pub cache_bytes: u64,
}

/// What this process does, if it is to be a server. It logs from then on, if it is to.
pub fn role() -> Option<Role> {
    let role = std::env::var(ROLE).ok()?;
    if role == ROLES[2].0 {
        let level = "info".parse().expect("a level");
        let (format, file) = (LogFormat::Json, None);
        let config = logging::Config { level, format, file, files_kept: 1, file_max_bytes: u64::MAX };
        // It lives as long as the process.
        std::mem::forget(logging::init(&config).expect("standard error is there"));
    }
    let metrics = if role == ROLES[0].0 { MetricsAccess::Off } else { MetricsAccess::Open };
    Some(Role { metrics, cache_bytes: if role == ROLES[3].0 { 64 << 20 } else { 0 } })
}

/// Tells where the server listens, and returns when nobody needs it any more.
pub fn serve_until_told(address: SocketAddr) {
    println!("{address}");
    let _ = std::io::stdin().read(&mut [0]);
}

impl Server {
    fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("this program runs twice");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an address");
        let address = line.trim().parse().expect("an address");
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Prints the throughput of each server as a part of that of another, for each request. No picture comes twice.
pub fn compare(requests: &[(String, Vec<u8>)], rounds: usize, time: Duration) {
    let servers = ROLES.map(|(role, _)| Server::start(role));
    println!(
        "requests/s at {CONNECTIONS} connections beside another server, median of {rounds} rounds (lowest, highest):"
    );
    for (name, request) in requests {
        let mut ratios = ROLES.map(|_| Vec::new());
        for round in 0..rounds {
            let measure = |role: usize| rate_of_new(servers[role].address, CONNECTIONS, time, request);
            // In turns, each time in another order: the machine is quicker at one moment and slower at another.
            let mut rates = ROLES.map(|_| 0.0);
            (0..ROLES.len()).map(|turn| (turn + round) % ROLES.len()).for_each(|role| rates[role] = measure(role));
            ratios.iter_mut().zip(ROLES).zip(rates).for_each(|((all, (_, base)), rate)| all.push(rate / rates[base]));
        }
        for ((role, base), mut ratios) in ROLES.into_iter().zip(ratios).skip(1) {
            ratios.sort_by(f64::total_cmp);
            let (median, lowest, highest) = (ratios[rounds / 2], ratios[0], ratios[rounds - 1]);
            println!("{name:32}{role:>26} / {:9}{median:.3} ({lowest:.3}, {highest:.3})", ROLES[base].0);
        }
    }
}
