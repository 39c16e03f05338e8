//! The addresses to listen on: whether each is free, and which process uses it otherwise.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use kiln_server::ServerError;

use super::finding::Finding;
use crate::config::Config;

/// State of a listening socket in `/proc/net/tcp` (proc(5)).
const LISTENING: &str = "0A";

/// Checks the addresses of the API and of the metrics.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let api = listen("port", "listen", config.server.listen);
    let metrics = config.metrics_listen.map(|address| listen("metrics port", "metrics-listen", address));
    std::iter::once(api).chain(metrics).collect()
}

/// Binds an address as a server would, and releases it. `flag` is the setting that names it.
fn listen(check: &'static str, flag: &str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) if address.port() == 0 => Finding::ok(check, format!("{address}: the system chooses a free port")),
        Ok(_) => Finding::ok(check, format!("{address} is free")),
        Err(error) => {
            let kind = error.kind();
            let holder = if kind == ErrorKind::AddrInUse { holder(address.port()) } else { None };
            let message = match &holder {
                Some(holder) => format!("{address} is in use by {holder}"),
                None => format!("{}: {error}", ServerError::bind(address, std::io::Error::from(kind))),
            };
            Finding::problem(check, message, fix(kind, flag, address, holder.map(|holder| holder.process)))
        }
    }
}

/// Returns the command or setting for an address that cannot be bound.
fn fix(kind: ErrorKind, flag: &str, address: SocketAddr, process: Option<u32>) -> String {
    let next = SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(8080));
    match kind {
        ErrorKind::AddrInUse => {
            let stop = process.map_or_else(|| "stop that program".to_string(), |process| format!("kill {process}"));
            format!("{stop}, or --{flag} {next}")
        }
        ErrorKind::PermissionDenied => format!(
            "--{flag} {}, or allow the port: sudo setcap cap_net_bind_service=+ep \"$(command -v kiln)\", \
             AmbientCapabilities=CAP_NET_BIND_SERVICE of systemd",
            SocketAddr::new(address.ip(), 8080)
        ),
        _ => format!("--{flag} 127.0.0.1:{}", address.port()),
    }
}

/// A process that listens on a port.
#[derive(Debug)]
struct Holder {
    process: u32,
    name: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {})", self.name, self.process)
    }
}

/// Finds the process that listens on a port. `None` if `/proc` does not show it, as for a process of another user or of
/// another container.
fn holder(port: u16) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<PathBuf> = tables
        .iter()
        .flat_map(|table| listening_inodes(table, port))
        .map(|inode| format!("socket:[{inode}]").into())
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes.filter_map(|process| Some((process.file_name().to_str()?.parse::<u32>().ok()?, process.path()))).find_map(
        |(process, folder)| {
            has_any_of(&folder, &sockets).then(|| {
                let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
                Holder { process, name: name.trim().to_string() }
            })
        },
    )
}

fn has_any_of(process: &Path, sockets: &[PathBuf]) -> bool {
    let Ok(files) = std::fs::read_dir(process.join("fd")) else { return false };
    files
        .filter_map(Result::ok)
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|link| sockets.contains(&link))
}

/// Returns the inodes of the sockets that listen on a port, from `/proc/net/tcp` or `/proc/net/tcp6`.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    let inode = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let found = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (found == port && *state == LISTENING).then(|| inode.parse().ok()).flatten()
    };
    table.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000  1000        0 31338 1 0000000000000000 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0000000000000000 100 0 0 10 0
";

    #[test]
    fn listening_sockets_of_a_port_are_found() {
        assert_eq!(listening_inodes(TABLE, 8080), [31337]);
        assert_eq!(listening_inodes(TABLE, 22), [17]);
        assert!(listening_inodes(TABLE, 80).is_empty() && listening_inodes("", 80).is_empty());
    }

    #[test]
    fn port_in_use_is_a_problem_that_names_the_process_and_the_next_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let finding = listen("port", "listen", address);
        assert_eq!(finding.state, State::Problem);
        assert!(
            finding.detail.starts_with(&format!("{address} ")) || finding.detail.contains("already listens"),
            "{finding:?}"
        );
        if cfg!(target_os = "linux") {
            let (process, fix) = (std::process::id(), finding.fix.clone().unwrap());
            assert!(finding.detail.ends_with(&format!("(process {process})")), "{finding:?}");
            assert!(fix.starts_with(&format!("kill {process}, or --listen 127.0.0.1:")), "{fix}");
        }
        assert_eq!(listen("port", "listen", "127.0.0.1:0".parse().unwrap()).state, State::Ok);
    }

    #[test]
    fn privileged_port_without_permission_has_two_fixes() {
        let text = fix(ErrorKind::PermissionDenied, "listen", "0.0.0.0:80".parse().unwrap(), None);
        assert!(text.starts_with("--listen 0.0.0.0:8080, or") && text.contains("cap_net_bind_service"), "{text}");
    }
}
