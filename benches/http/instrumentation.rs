//! Measures the cost of metrics, of the access log, and of a response cache without hits. The compared servers run in their own
//! processes, and the load alternates between them.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kiln_api::MetricsAccess;
use kiln_runtime::telemetry::logging::{self, LogFormat};

use crate::client::load_distinct;

/// Environment variable that makes this program one of the servers.
const ROLE_VARIABLE: &str = "KILN_BENCH_SERVER";
/// The compared servers.
const ROLES: [Role; 4] = [
    Role { name: "nothing", metrics: MetricsAccess::Off, ..Role::METRICS },
    Role::METRICS,
    Role { name: "metrics and log", logs: true, ..Role::METRICS },
    Role { name: "metrics and cache", base: 1, cache_bytes: 64 << 20, ..Role::METRICS },
];
const CONNECTIONS: usize = 16;

struct Server {
    child: Child,
    address: SocketAddr,
}

/// What a server does besides answering requests.
pub struct Role {
    name: &'static str,
    /// Index of the role that this one is compared with.
    base: usize,
    pub metrics: MetricsAccess,
    logs: bool,
    pub cache_bytes: u64,
}

impl Role {
    const METRICS: Self = Self { name: "metrics", base: 0, metrics: MetricsAccess::Open, logs: false, cache_bytes: 0 };
}

/// Returns the role of this process if it is one of the servers, and initialises the log if the role has one.
pub fn role() -> Option<Role> {
    let name = std::env::var(ROLE_VARIABLE).ok()?;
    // A process with an unknown role would otherwise start servers itself.
    let role = ROLES.into_iter().find(|role| role.name == name).expect("a known role");
    if role.logs {
        let level = "info".parse().expect("a level");
        let (format, file) = (LogFormat::Json, None);
        let config = logging::Config { level, format, file, max_files: 1, file_max_bytes: u64::MAX };
        // The log must live as long as the process.
        std::mem::forget(logging::init(&config).expect("standard error is open"));
    }
    Some(role)
}

/// Prints the server's address and waits until the standard input closes.
pub fn serve_until_stdin_closes(address: SocketAddr) {
    println!("{address}");
    let _ = std::io::stdin().read(&mut [0]);
}

impl Server {
    fn start(role: &Role) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
        command.env(ROLE_VARIABLE, role.name).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an address");
        let address = line.trim().parse().expect("an address");
        Self { child, address }
    }

    /// Returns the CPU time of the process, with a resolution of 10 ms. Returns `None` if the system does not report it.
    #[cfg(target_os = "linux")]
    fn cpu_time(&self) -> Option<Duration> {
        let stat = procfs::process::Process::new(self.child.id().try_into().ok()?).ok()?.stat().ok()?;
        Some(Duration::from_secs_f64((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64))
    }

    #[cfg(not(target_os = "linux"))]
    fn cpu_time(&self) -> Option<Duration> {
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends when its standard input closes.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Number and duration of the measurements.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Number of times that all servers are started. The speed of two processes of the same program can differ by 5 % for as long
    /// as they run.
    pub starts: usize,
    /// Number of loads per server and start. They alternate between the servers.
    pub rounds: usize,
    /// Duration of one load.
    pub time: Duration,
}

/// The measurements of one server after one start.
#[derive(Clone, Copy, Default)]
struct Measurement {
    requests: usize,
    elapsed: Duration,
    cpu_time: Option<Duration>,
}

impl Measurement {
    fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns the CPU time per request in seconds.
    fn cpu_per_request(&self) -> Option<f64> {
        Some(self.cpu_time?.as_secs_f64() / self.requests as f64)
    }
}

/// Prints two ratios of each server to its base for each request: of the throughput, and of the CPU time per request, which other
/// programs disturb less. All images differ.
pub fn compare(requests: &[(String, Vec<u8>)], extent: Extent) {
    let Extent { starts, rounds, time } = extent;
    println!(
        "ratio to another server at {CONNECTIONS} connections, {starts} starts with {rounds} alternating rounds, median (quartiles):"
    );
    println!("{:58}{:>24}{:>30}", "", "requests/s", "CPU time per request");
    for (name, request) in requests {
        let measurements: Vec<[Measurement; ROLES.len()]> =
            (0..starts).map(|start| measure_start(request, start, rounds, time)).collect();
        for (role, Role { name: role_name, base, .. }) in ROLES.into_iter().enumerate().skip(1) {
            let rates = measurements.iter().map(|of| Some(of[role].per_second() / of[base].per_second()));
            let costs = measurements.iter().map(|of| Some(of[role].cpu_per_request()? / of[base].cpu_per_request()?));
            let (rates, costs) = (quartiles(rates), quartiles(costs));
            println!("{name:32}{role_name:>26} / {:9}{rates:>24}{costs:>30}", ROLES[base].name);
        }
    }
}

/// Starts all servers and loads them in turns. The order differs between rounds and starts, since the speed of the machine varies
/// over time.
fn measure_start(request: &[u8], start: usize, rounds: usize, time: Duration) -> [Measurement; ROLES.len()] {
    let servers = ROLES.map(|role| Server::start(&role));
    // The first load warms the servers up and is not measured.
    for server in &servers {
        load_distinct(server.address, CONNECTIONS, time / 4, request);
    }
    let before = servers.each_ref().map(Server::cpu_time);
    let mut all = [Measurement::default(); ROLES.len()];
    for round in 0..rounds {
        for role in (0..ROLES.len()).map(|turn| (turn + round + start) % ROLES.len()) {
            let result = load_distinct(servers[role].address, CONNECTIONS, time, request);
            all[role].requests += result.requests;
            all[role].elapsed += result.elapsed;
        }
    }
    for ((measurement, server), before) in all.iter_mut().zip(&servers).zip(before) {
        measurement.cpu_time = server.cpu_time().zip(before).map(|(after, before)| after - before);
    }
    all
}

/// Formats the median and, in parentheses, the quartiles. Returns a question mark if a value is missing.
fn quartiles(values: impl Iterator<Item = Option<f64>>) -> String {
    let Some(mut values) = values.collect::<Option<Vec<f64>>>() else { return "?".to_string() };
    values.sort_by(f64::total_cmp);
    let at = |part: usize| values[(values.len() - 1) * part / 4];
    format!("{:.3} ({:.3}, {:.3})", at(2), at(1), at(3))
}
