//! A bad network: a proxy in front of a server on loopback.

use crate::Random;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to connections.
#[derive(Clone, Copy, Debug)]
pub enum Disturbance {
    /// Nothing.
    None,
    /// Each piece of an answer comes later by this time.
    Delay(Duration),
    /// Each connection ends after this number of bytes of answers.
    Cut(usize),
    /// One of this number of pieces of answers has another byte in its body.
    Corrupt(usize),
}

/// A proxy, which runs until the process ends.
#[derive(Clone, Debug)]
pub struct Proxy {
    port: u16,
    disturbance: Arc<Mutex<Disturbance>>,
}

impl Proxy {
    /// Starts it in front of the server on `port`.
    ///
    /// # Panics
    ///
    /// If the system has no free port.
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let proxy = Self { port: own, disturbance: Arc::new(Mutex::new(Disturbance::None)) };
        let started = proxy.clone();
        thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                    started.forward(client, server, number as u64);
                }
            }
        });
        proxy
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Disturbs all connections from now on.
    ///
    /// # Panics
    ///
    /// If a thread of the proxy has panicked.
    pub fn disturb(&self, disturbance: Disturbance) {
        *self.disturbance.lock().expect("no panic") = disturbance;
    }

    fn forward(&self, client: TcpStream, server: TcpStream, seed: u64) {
        let streams = (client.try_clone(), server.try_clone());
        let (Ok(mut to_client), Ok(mut from_server)) = streams else { return };
        thread::spawn(move || {
            let (mut from, mut to) = (client, server);
            // It ends when either side does.
            drop(std::io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        });
        let proxy = self.clone();
        thread::spawn(move || {
            drop(proxy.answer(&mut from_server, &mut to_client, seed));
            drop((from_server.shutdown(Shutdown::Both), to_client.shutdown(Shutdown::Both)));
        });
    }

    fn answer(&self, from: &mut TcpStream, to: &mut TcpStream, seed: u64) -> std::io::Result<()> {
        let (mut random, mut part, mut total) = (Random::new(seed), vec![0; 16 << 10], 0);
        loop {
            let count = from.read(&mut part)?;
            if count == 0 {
                return Ok(());
            }
            let mut piece = &mut part[..count];
            let disturbance = *self.disturbance.lock().expect("no panic");
            match disturbance {
                Disturbance::None => {}
                Disturbance::Delay(time) => thread::sleep(time),
                Disturbance::Cut(bytes) => {
                    piece = &mut piece[..count.min(bytes - total.min(bytes))];
                }
                Disturbance::Corrupt(pieces) if random.below(pieces) == 0 => {
                    let body = piece.windows(4).position(|end| end == b"\r\n\r\n");
                    let body = body.map_or(0, |at| at + 4);
                    if body < piece.len() {
                        piece[body + random.below(count - body)] ^= 1 << random.below(8);
                    }
                }
                Disturbance::Corrupt(_) => {}
            }
            to.write_all(piece)?;
            total += count;
            if matches!(disturbance, Disturbance::Cut(bytes) if total >= bytes) {
                return Ok(());
            }
        }
    }
}
