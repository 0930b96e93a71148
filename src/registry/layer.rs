//! The bytes of a layer, wherever they come from.

use std::{
    fs::File,
    io::{self, Read, Take},
};

use super::remote::Stream;

/// A layer's bytes as they come, at most as many as its descriptor says; nothing about them is
/// checked yet.
///
/// A registry's errors on the way are [`crate::error::Error`]s inside the [`io::Error`].
#[derive(Debug)]
pub struct Layer(Bytes);

#[derive(Debug)]
enum Bytes {
    File(Take<File>),
    Stream(Stream),
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Bytes::File(file) => file.read(buffer),
            Bytes::Stream(stream) => stream.read(buffer),
        }
    }
}

impl From<Take<File>> for Layer {
    fn from(file: Take<File>) -> Self {
        Self(Bytes::File(file))
    }
}

impl From<Stream> for Layer {
    fn from(stream: Stream) -> Self {
        Self(Bytes::Stream(stream))
    }
}
