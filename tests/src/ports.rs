//! Ports for servers that a test owns.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Free ports are found by asking and letting go, so another process may take one before the server does. It is
/// then worth trying others, this often.
pub(crate) const ATTEMPTS: usize = 3;

/// Ports that were free a moment ago. All are held until all are known, so that they differ.
pub(crate) fn free<const N: usize>() -> io::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_one_call_differ() {
        let [first, second, third] = free().expect("the operating system has free ports");

        assert!(first != second && second != third && third != first);
    }
}
