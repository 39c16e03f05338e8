//! What it costs to measure, to write the access log, and to keep answers of pictures that never come again: servers in
//! processes of their own, loaded in turns.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kiln_api::MetricsAccess;
use kiln_runtime::telemetry::logging::{self, LogFormat};

use crate::client::load_of_new;

/// Tells this program to be one of the servers.
const ROLE: &str = "KILN_BENCH_SERVER";
/// The servers.
const ROLES: [Role; 4] = [
    Role { does: "nothing", metrics: MetricsAccess::Off, ..Role::METRICS },
    Role::METRICS,
    Role { does: "metrics and log", logs: true, ..Role::METRICS },
    Role { does: "metrics and kept answers", base: 1, cache_bytes: 64 << 20, ..Role::METRICS },
];
const CONNECTIONS: usize = 16;

struct Server {
    child: Child,
    address: SocketAddr,
}

/// What a server does besides answering.
pub struct Role {
    does: &'static str,
    /// The place of the one that it is compared with.
    base: usize,
    pub metrics: MetricsAccess,
    logs: bool,
    pub cache_bytes: u64,
}

impl Role {
    const METRICS: Self = Self { does: "metrics", base: 0, metrics: MetricsAccess::Open, logs: false, cache_bytes: 0 };
}

/// What this process does, if it is to be a server. It logs from then on, if it is to.
pub fn role() -> Option<Role> {
    let does = std::env::var(ROLE).ok()?;
    // Without one it would take itself for the one who starts the servers.
    let role = ROLES.into_iter().find(|role| role.does == does).expect("one of the servers");
    if role.logs {
        let level = "info".parse().expect("a level");
        let (format, file) = (LogFormat::Json, None);
        let config = logging::Config { level, format, file, max_files: 1, file_max_bytes: u64::MAX };
        // It lives as long as the process.
        std::mem::forget(logging::init(&config).expect("standard error is there"));
    }
    Some(role)
}

/// Tells where the server listens, and returns when nobody needs it any more.
pub fn serve_until_told(address: SocketAddr) {
    println!("{address}");
    let _ = std::io::stdin().read(&mut [0]);
}

impl Server {
    fn start(role: &Role) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.env(ROLE, role.does).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
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

/// How long, and how often.
#[derive(Clone, Copy)]
pub struct Extent {
    /// How many times all servers are started anew: of two processes of the same program one may take a twentieth more than the
    /// other, as long as they live.
    pub starts: usize,
    /// How often each is loaded after each start, in turns with the others.
    pub rounds: usize,
    /// For how long each time.
    pub time: Duration,
}

/// What a server did after one start.
#[derive(Clone, Copy, Default)]
struct Done {
    requests: usize,
    took: Duration,
    processor: Option<Duration>,
}

impl Done {
    fn per_second(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }

    /// The processor's time of a request, in seconds.
    fn cost(&self) -> Option<f64> {
        Some(self.processor?.as_secs_f64() / self.requests as f64)
    }
}

/// Prints what each server does beside another one, for each request: its throughput, and the processor's time that it takes for
/// a request, which other programs disturb less. No picture comes twice.
pub fn compare(requests: &[(String, Vec<u8>)], extent: Extent) {
    let Extent { starts, rounds, time } = extent;
    println!(
        "beside another server, at {CONNECTIONS} connections, {starts} starts of {rounds} rounds in turns, median (quartiles):"
    );
    println!("{:58}{:>24}{:>30}", "", "requests/s", "processor's time a request");
    for (name, request) in requests {
        let done: Vec<[Done; ROLES.len()]> =
            (0..starts).map(|start| after_a_start(request, start, rounds, time)).collect();
        for (role, Role { does, base, .. }) in ROLES.into_iter().enumerate().skip(1) {
            let rates = done.iter().map(|done| Some(done[role].per_second() / done[base].per_second()));
            let costs = done.iter().map(|done| Some(done[role].cost()? / done[base].cost()?));
            let (rates, costs) = (quartiles(rates), quartiles(costs));
            println!("{name:32}{does:>26} / {:9}{rates:>24}{costs:>30}", ROLES[base].does);
        }
    }
}

/// Each time in another order: the machine is quicker at one moment and slower at another.
fn after_a_start(request: &[u8], start: usize, rounds: usize, time: Duration) -> [Done; ROLES.len()] {
    let servers = ROLES.map(|role| Server::start(&role));
    // What is done once is not counted.
    for server in &servers {
        load_of_new(server.address, CONNECTIONS, time / 4, request);
    }
    let before = servers.each_ref().map(Server::processor);
    let mut all = [Done::default(); ROLES.len()];
    for round in 0..rounds {
        for role in (0..ROLES.len()).map(|turn| (turn + round + start) % ROLES.len()) {
            let answered = load_of_new(servers[role].address, CONNECTIONS, time, request);
            all[role].requests += answered.requests;
            all[role].took += answered.took;
        }
    }
    for ((done, server), before) in all.iter_mut().zip(&servers).zip(before) {
        done.processor = server.processor().zip(before).map(|(after, before)| after - before);
    }
    all
}

/// The median, and in brackets the quartiles; a question mark where the system does not tell.
fn quartiles(values: impl Iterator<Item = Option<f64>>) -> String {
    let Some(mut values) = values.collect::<Option<Vec<f64>>>() else { return "?".to_string() };
    values.sort_by(f64::total_cmp);
    let at = |part: usize| values[(values.len() - 1) * part / 4];
    format!("{:.3} ({:.3}, {:.3})", at(2), at(1), at(3))
}
