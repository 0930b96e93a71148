//! Layers as streams: bounded, resumed after an interruption, and limited to the declared size.

use std::{
    io::Read,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::{settings, source};
use crate::{
    base::error::Class,
    oci::{Descriptor, registry::Settings},
    support::{
        fake::{Fake, Reaction, Request},
        images::descriptor,
    },
};

fn layer() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn described() -> Descriptor {
    serde_json::from_value(descriptor(
        "application/vnd.oci.image.layer.v1.tar",
        &layer(),
    ))
    .unwrap()
}

/// Downloads the layer from a server: all bytes, or those before an error and the error.
async fn read(fake: &Fake, settings: Settings) -> (Vec<u8>, Option<crate::base::error::Error>) {
    let source = source(settings, &fake.host(), "team/app");
    let mut layer = match source.layer(&described()).await {
        Ok(layer) => layer,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let error = layer.read_to_end(&mut bytes).err();
        (
            bytes,
            error.map(|error| {
                *error
                    .into_inner()
                    .unwrap()
                    .downcast::<crate::base::error::Error>()
                    .unwrap()
            }),
        )
    });
    reading.await.unwrap()
}

fn head(length: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// The part of the layer in the requested range.
fn rest(request: &Request, range: impl Fn(usize, usize) -> String) -> Reaction {
    let from = request
        .header("range")
        .unwrap()
        .strip_prefix("bytes=")
        .unwrap()
        .strip_suffix('-')
        .unwrap();
    let from: usize = from.parse().unwrap();
    let all = layer();
    Reaction::new(206, &all[from..]).with("Content-Range", range(from, all.len()))
}

fn honest(from: usize, size: usize) -> String {
    format!("bytes {from}-{}/{size}", size - 1)
}

#[tokio::test]
async fn truncated_layer_is_resumed() {
    let fake = Fake::start(|request| match request.number {
        0 => Reaction::Raw([head(layer().len()), layer()[..300_001].to_vec()].concat()),
        1 => Reaction::new(503, ""),
        _ => rest(request, honest),
    });
    let (bytes, error) = read(&fake, settings(&[])).await;
    assert!(
        error.is_none() && bytes == layer(),
        "{} bytes, {error:?}",
        bytes.len()
    );
    let ranges: Vec<_> = fake
        .requests()
        .iter()
        .map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert_eq!(
        ranges,
        [
            None,
            Some("bytes=300001-".to_owned()),
            Some("bytes=300001-".to_owned())
        ]
    );
}

#[tokio::test]
async fn resumed_range_must_match() {
    for wrong in [
        |from, size| honest(from - 1, size),
        |from, size| honest(from, size + 1),
        |_, _| String::new(),
    ] {
        let fake = Fake::start(move |request| match request.number {
            0 => Reaction::Raw([head(layer().len()), layer()[..5_000].to_vec()].concat()),
            _ => rest(request, wrong),
        });
        let (bytes, error) = read(&fake, settings(&[])).await;
        assert_eq!(
            (error.unwrap().class, bytes.as_slice()),
            (Class::Unavailable, &layer()[..5_000])
        );
    }
    let whole = Fake::start(|request| match request.number {
        0 => Reaction::Raw([head(layer().len()), layer()[..5_000].to_vec()].concat()),
        _ => Reaction::new(200, layer()),
    });
    assert_eq!(
        read(&whole, settings(&[])).await.1.unwrap().class,
        Class::Unavailable
    );
}

#[tokio::test]
async fn truncated_layer_fails_after_five_attempts() {
    let counter = AtomicUsize::new(0);
    let fake = Fake::start(move |request| {
        let from = if request.number == 0 {
            0
        } else {
            counter.fetch_add(1, Ordering::SeqCst) + 1
        };
        let range = format!(
            "HTTP/1.1 206 X\r\nContent-Range: {}\r\n",
            honest(from, layer().len())
        );
        let first = if from == 0 {
            "HTTP/1.1 200 X\r\n".to_owned()
        } else {
            range
        };
        let head = format!("{first}Content-Length: {}\r\n\r\n", layer().len() - from);
        Reaction::Raw([head.as_bytes(), &layer()[from..=from]].concat())
    });
    let (bytes, error) = read(&fake, settings(&[])).await;
    assert!(error.unwrap().message.contains("tried 5 times"));
    assert_eq!(
        (bytes.as_slice(), fake.requests().len()),
        (&layer()[..5], 5)
    );
}

#[tokio::test]
async fn layer_size_must_match_its_descriptor() {
    let longer = Fake::start(|_| {
        Reaction::Flood(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n".to_vec(), 400)
    });
    let (bytes, error) = read(&longer, settings(&[])).await;
    assert!(error.unwrap().message.contains("more than") && bytes.len() <= layer().len());
    for length in [layer().len() - 1, layer().len() + 1] {
        let fake = Fake::start(move |_| Reaction::Raw(head(length)));
        let (_, error) = read(&fake, settings(&[])).await;
        assert!(
            error.unwrap().message.contains("its descriptor states"),
            "{length}"
        );
    }
}

#[tokio::test]
async fn layer_has_a_total_time_limit() {
    let fake = Fake::start(|_| Reaction::Drip(head(layer().len()), Duration::from_millis(5)));
    let settings = Settings {
        layer_timeout: Duration::from_millis(200),
        ..settings(&[])
    };
    let (_, error) = read(&fake, settings).await;
    assert!(error.unwrap().message.contains("not finished after 200ms"));
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn missing_or_refused_layer_is_an_error() {
    for (status, kind) in [
        (404, Class::MissingContent),
        (403, Class::Denied),
        (500, Class::Unavailable),
    ] {
        let fake = Fake::start(move |_| Reaction::new(status, ""));
        assert_eq!(
            read(&fake, settings(&[])).await.1.unwrap().class,
            kind,
            "{status}"
        );
    }
}

#[tokio::test]
async fn slow_reader_pauses_only_the_server() {
    let (sent, size) = (std::sync::Arc::new(AtomicUsize::new(0)), 64 * 1024 * 1024);
    let fake = Fake::start(move |_| Reaction::Flood(head(size), 64));
    let source = source(settings(&[]), &fake.host(), "team/app");
    let large: Descriptor = serde_json::from_value(serde_json::json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": described().digest, "size": size,
    }))
    .unwrap();
    let mut layer = source.layer(&large).await.unwrap();
    // Time for the server to send all of it, if it were taken.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let counter = std::sync::Arc::clone(&sent);
    let reading = tokio::task::spawn_blocking(move || {
        std::io::copy(&mut layer, &mut Counting(&counter)).unwrap()
    });
    assert_eq!(reading.await.unwrap(), size as u64);
    assert_eq!(sent.load(Ordering::SeqCst), size);
    assert!(
        super::faults::peak() < 96 * 1024,
        "{} KiB",
        super::faults::peak()
    );
}

struct Counting<'c>(&'c AtomicUsize);

impl std::io::Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.fetch_add(bytes.len(), Ordering::SeqCst);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
