//! What it costs to measure, to write the access log, and to keep answers of pictures that never come again: servers in
//! processes of their own, loaded in turns.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kiln::api::MetricsAccess;
use kiln::telemetry::logging::{self, LogFormat};

use crate::client::load_of_new;

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

    /// The time that it has had of processors, to a hundredth of a second. None where the system does not tell.
    #[cfg(target_os = "linux")]
    fn processor(&self) -> Option<Duration> {
        let stat = procfs::process::Process::new(self.child.id().try_into().ok()?).ok()?.stat().ok()?;
        Some(Duration::from_secs_f64((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64))
    }

    #[cfg(not(target_os = "linux"))]
    fn processor(&self) -> Option<Duration> {
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Prints what each server does beside another one, for each request: its throughput, and the processor's time that it takes for
/// a request, which other programs disturb less. No picture comes twice.
pub fn compare(requests: &[(String, Vec<u8>)], rounds: usize, time: Duration) {
    let servers = ROLES.map(|(role, _)| Server::start(role));
    println!("beside another server, at {CONNECTIONS} connections, {rounds} rounds in turns:");
    println!("{:58}requests/s, median (quartiles){:>27}", "", "processor's time a request");
    for (name, request) in requests {
        let mut all = ROLES.map(|_| Vec::new());
        let before = servers.each_ref().map(Server::processor);
        for round in 0..rounds {
            // Each time in another order: the machine is quicker at one moment and slower at another.
            for role in (0..ROLES.len()).map(|turn| (turn + round) % ROLES.len()) {
                all[role].push(load_of_new(servers[role].address, CONNECTIONS, time, request));
            }
        }
        let after = servers.each_ref().map(Server::processor);
        let a_request = |role: usize| {
            let requests: usize = all[role].iter().map(|answered| answered.requests).sum();
            Some((after[role]? - before[role]?).as_secs_f64() / requests as f64)
        };
        for (role, (does, base)) in ROLES.into_iter().enumerate().skip(1) {
            let rates = all[role].iter().zip(&all[base]).map(|(one, other)| one.per_second() / other.per_second());
            let mut rates: Vec<f64> = rates.collect();
            rates.sort_by(f64::total_cmp);
            let [low, median, high] = [rounds / 4, rounds / 2, rounds * 3 / 4].map(|at| rates[at]);
            let cost =
                a_request(role).zip(a_request(base)).map_or("?".into(), |(one, other)| format!("{:.3}", one / other));
            println!("{name:32}{does:>26} / {:9}{median:.3} ({low:.3}, {high:.3}){cost:>25}", ROLES[base].0);
        }
    }
}
