//! Releases for jobs that install repin: an archive with a program, its checksums, and a server of files.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::PathBuf,
    thread,
};

use sha2::{Digest, Sha256};

use super::world::World;

/// The version of the built program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Serves the files below a directory, without an end.
pub fn serve(directory: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
            let path = request.split(' ').nth(1).unwrap().trim_start_matches('/');
            let (status, body) = match fs::read(directory.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    format!("http://{address}")
}

/// Publishes a release below `releases` with a script as its program; returns the checksum of its archive.
pub fn publish(world: &World, version: &str, target: &str, script: &str) -> String {
    let name = format!("repin-{version}-{target}");
    let compressor = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(compressor);
    let mut header = tar::Header::new_gnu();
    header.set_size(script.len() as u64);
    header.set_mode(0o755);
    let path = format!("{name}/repin");
    archive
        .append_data(&mut header, path, script.as_bytes())
        .unwrap();
    let bytes = archive.into_inner().unwrap().finish().unwrap();
    let sum = hex::encode(Sha256::digest(&bytes));
    let directory = format!("releases/v{version}");
    world.write(&format!("{directory}/{name}.tar.gz"), bytes);
    let sums = format!("{}  other.tar.gz\n{sum}  {name}.tar.gz\n", "0".repeat(64));
    world.write(&format!("{directory}/SHA256SUMS"), sums);
    sum
}

/// A script that is the built program.
pub fn program() -> String {
    format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_repin"))
}
