//! What it costs to measure: servers in processes of their own, one that measures nothing, one that does, and one that writes
//! the access log too, loaded in turns.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kiln::api::MetricsAccess;
use kiln::telemetry::logging::{self, LogFormat};

use crate::client::rate;

/// Tells this program to be one of the servers.
const ROLE: &str = "KILN_BENCH_SERVER";
/// The servers: nothing; metrics; metrics and log.
const ROLES: [&str; 3] = ["nothing", "metrics", "metrics and log"];
const CONNECTIONS: usize = 16;

struct Server {
    child: Child,
    address: SocketAddr,
}

/// If this process is to be a server: what it shows of its metrics. It logs from then on, if it is to.
pub fn role() -> Option<MetricsAccess> {
    let role = std::env::var(ROLE).ok()?;
    if role == ROLES[2] {
        let level = "info".parse().expect("a level");
        let (format, file) = (LogFormat::Json, None);
        let config = logging::Config { level, format, file, files_kept: 1, file_max_bytes: u64::MAX };
        // It lives as long as the process.
        std::mem::forget(logging::init(&config).expect("standard error is there"));
    }
    Some(if role == ROLES[0] { MetricsAccess::Off } else { MetricsAccess::Open })
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

/// Prints the throughput of each server as a part of that of the first, for each request.
pub fn compare(requests: &[(String, Vec<u8>)], rounds: usize, time: Duration) {
    let servers = ROLES.map(Server::start);
    println!(
        "requests/s at {CONNECTIONS} connections beside a server that measures nothing, median of {rounds} rounds (lowest, highest):"
    );
    for (name, request) in requests {
        let mut ratios = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            let measure = |role: usize| rate(servers[role].address, CONNECTIONS, time, request);
            // In turns, each time in another order: the machine is quicker at one moment and slower at another.
            let mut rates = [0.0; 3];
            (0..3).map(|turn| (turn + round) % 3).for_each(|role| rates[role] = measure(role));
            (0..2).for_each(|one| ratios[one].push(rates[one + 1] / rates[0]));
        }
        for (role, mut ratios) in ROLES[1..].iter().zip(ratios) {
            ratios.sort_by(f64::total_cmp);
            let (median, lowest, highest) = (ratios[rounds / 2], ratios[0], ratios[rounds - 1]);
            println!("{name:38}{role:>20}  {median:.3} ({lowest:.3}, {highest:.3})");
        }
    }
}
