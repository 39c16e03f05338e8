//! The addresses to listen on: whether each is free, and which process uses it otherwise.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use kiln_server::ServerError;

use super::finding::Finding;
use crate::config::Config;

/// State of a listening socket in `/proc/net/tcp` (proc(5)).
const LISTENING: &str = "0A";

/// Checks the addresses of the API and of the metrics.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    // Held while the second address is bound, as by a server.
    let (api, _listener) = listen("port", "listen", config.server.listen);
    let metrics = config.metrics_listen.map(|address| listen("metrics port", "metrics-listen", address).0);
    std::iter::once(api).chain(metrics).collect()
}

/// Binds an address as a server would. Returns also the listener. `flag` is the setting that names the address.
fn listen(check: &'static str, flag: &str, address: SocketAddr) -> (Finding, Option<TcpListener>) {
    match TcpListener::bind(address) {
        Ok(listener) if address.port() == 0 => {
            (Finding::ok(check, format!("{address}: the system chooses a free port")), Some(listener))
        }
        Ok(listener) => (Finding::ok(check, format!("{address} is free")), Some(listener)),
        Err(error) => (unavailable(check, flag, address, &error), None),
    }
}

/// Reports an address that cannot be bound.
fn unavailable(check: &'static str, flag: &str, address: SocketAddr, error: &std::io::Error) -> Finding {
    let kind = error.kind();
    let holder = if kind == ErrorKind::AddrInUse { holder(address) } else { None };
    let message = match &holder {
        Some(holder) if holder.process == std::process::id() => {
            let message = format!("{address} is in use by another address of this server");
            return Finding::problem(check, message, format!("--{flag} {}", next_port(address)));
        }
        Some(holder) => format!("{address} is in use by {holder}"),
        None => format!("{}: {error}", ServerError::bind(address, std::io::Error::from(kind))),
    };
    Finding::problem(check, message, fix(kind, flag, address, holder.map(|holder| holder.process)))
}

fn next_port(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(8080))
}

/// Returns the command or setting for an address that cannot be bound.
fn fix(kind: ErrorKind, flag: &str, address: SocketAddr, process: Option<u32>) -> String {
    match kind {
        ErrorKind::AddrInUse => {
            // Process 1 is the system, or the container with everything in it.
            let stop = process.filter(|process| *process != 1);
            let stop = stop.map_or_else(|| "stop that program".to_string(), |process| format!("kill {process}"));
            format!("{stop}, or --{flag} {}", next_port(address))
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

/// Finds the process that listens on an address. `None` if `/proc` does not show it, as for a process of another user or of
/// another container.
fn holder(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<PathBuf> = tables
        .iter()
        .flat_map(|table| listening_inodes(table, address))
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

/// Returns the inodes of the sockets that listen on an address, from `/proc/net/tcp` or `/proc/net/tcp6`.
fn listening_inodes(table: &str, address: SocketAddr) -> Vec<u64> {
    let inode = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let found = socket_address(local)?;
        let is_it = found.port() == address.port() && overlap(found.ip().to_canonical(), address.ip().to_canonical());
        (is_it && *state == LISTENING).then(|| inode.parse().ok()).flatten()
    };
    table.lines().filter_map(inode).collect()
}

/// Parses an address of `/proc/net/tcp`: the words of the IP address as the machine orders their bytes, and the port, in
/// hexadecimal.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().map(u32::to_ne_bytes);
    let bytes = ip.as_bytes().chunks(8).map(word).collect::<Option<Vec<[u8; 4]>>>()?.concat();
    let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
    let ip = v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from)).ok()?;
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Returns whether two sockets cannot listen on the same port of these addresses.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    // A socket on all addresses of IPv6 also takes connections of IPv4.
    let covers = |wide: IpAddr, narrow: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    one == other || covers(one, other) || covers(other, one)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::config::Sources;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000  1000        0 31338 1 0000000000000000 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0000000000000000 100 0 0 10 0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets_of_an_address_are_found() {
        let inodes = |table: &str, address: &str| listening_inodes(table, address.parse().unwrap());
        for address in ["127.0.0.1:8080", "0.0.0.0:8080", "[::]:8080"] {
            assert_eq!(inodes(TABLE, address), [31337], "{address}");
        }
        assert!(inodes(TABLE, "127.0.0.2:8080").is_empty() && inodes(TABLE, "[::1]:8080").is_empty());
        assert_eq!(inodes(TABLE, "192.0.2.1:22"), [17]);
        assert!(inodes(TABLE, "127.0.0.1:80").is_empty() && inodes("", "127.0.0.1:80").is_empty());
        let ipv6 = TABLE.replace("0100007F:", "00000000000000000000000001000000:");
        assert_eq!(inodes(&ipv6, "[::1]:8080"), [31337]);
        assert!(inodes(&ipv6, "127.0.0.1:8080").is_empty());
    }

    #[test]
    fn port_in_use_has_a_fix_that_names_the_process_and_the_next_port() {
        let text = |process| fix(ErrorKind::AddrInUse, "listen", "127.0.0.1:80".parse().unwrap(), process);
        assert_eq!(text(Some(812)), "kill 812, or --listen 127.0.0.1:81");
        for process in [None, Some(1)] {
            assert_eq!(text(process), "stop that program, or --listen 127.0.0.1:81");
        }
    }

    #[test]
    fn address_of_the_api_is_not_free_for_the_metrics() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (api, _listener) = listen("port", "listen", free);
        let (metrics, none) = listen("metrics port", "metrics-listen", free);
        assert_eq!((api.state, metrics.state, none.is_none()), (State::Ok, State::Problem, true));
        if cfg!(target_os = "linux") {
            assert!(metrics.detail.ends_with("is in use by another address of this server"), "{metrics:?}");
            assert!(metrics.fix.as_ref().unwrap().starts_with("--metrics-listen 127.0.0.1:"), "{metrics:?}");
        }
        assert_eq!(listen("port", "listen", "127.0.0.1:0".parse().unwrap()).0.state, State::Ok);
    }

    #[test]
    fn check_holds_the_address_of_the_api() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let flags = [("listen", &free), ("metrics-listen", &free)].map(|(key, value)| (key, value.clone()));
        let sources = Sources::gather(&flags.into_iter().collect(), &|_: &str| None, None).unwrap();
        let found = check(&Config::from_sources(&sources).unwrap());
        assert_eq!(found.iter().map(|finding| finding.state).collect::<Vec<_>>(), [State::Ok, State::Problem]);
    }

    #[test]
    fn privileged_port_without_permission_has_two_fixes() {
        let text = fix(ErrorKind::PermissionDenied, "listen", "0.0.0.0:80".parse().unwrap(), None);
        assert!(text.starts_with("--listen 0.0.0.0:8080, or") && text.contains("cap_net_bind_service"), "{text}");
    }
}
