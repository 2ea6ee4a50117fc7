//! Ports that nobody listens on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below the range that Linux takes for outgoing connections (32768 and up): there, one of the system's own connections
/// could take a port between the moment it was found free and the moment a service listens on it.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// So many different loopback addresses that were free a moment ago, from a random place on: two systems that start at the
/// same time hardly meet.
pub(super) fn free(count: usize) -> io::Result<Vec<SocketAddr>> {
    let start = rand::random_range(RANGE);
    let ports = (start..RANGE.end).chain(RANGE.start..start);
    let listeners: Vec<TcpListener> =
        ports.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).take(count).collect();
    if listeners.len() < count {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    listeners.iter().map(TcpListener::local_addr).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn free_ports_differ_and_are_none_that_a_connection_could_take() {
        let ports = free(40).expect("free ones");
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 40);
        assert!(ports.iter().all(|address| address.ip().is_loopback() && RANGE.contains(&address.port())));
    }
}
