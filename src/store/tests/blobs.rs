//! Blobs: partial, resumed, wrong, and whole.

use super::*;

#[test]
fn blobs_come_in_pieces_and_only_right_ones_stay() {
    let (_dir, store) = store();
    let content = b"hello, world".repeat(100_000);
    let digest = Digest::of(&content);
    let mut ingest = store.ingest(&digest, Wait::No).expect("a turn").expect("not here yet");
    for chunk in content.chunks(70_001) {
        ingest.append(chunk).expect("room");
    }
    ingest.commit().expect("the right bytes");
    assert_eq!(store.read_blob(&digest, 1 << 30).expect("the blob"), content);
    assert!(store.ingest(&digest, Wait::No).expect("a turn").is_none(), "here");

    let other = Digest::of(b"other");
    let mut ingest = store.ingest(&other, Wait::No).expect("a turn").expect("not here yet");
    ingest.append(b"wrong").expect("room");
    let error = ingest.commit().expect_err("wrong bytes");
    assert!(
        matches!(error, StoreError::DigestMismatch { expected, found } if expected == other && found == Digest::of(b"wrong"))
    );
    assert!(!store.has_blob(&other));
    assert_eq!(std::fs::read_dir(store.layout().ingests()).expect("list").count(), 0, "nothing half-made");
}

#[test]
fn sha512_is_a_digest_too() {
    let (_dir, store) = store();
    let digest: Digest = format!(
        "sha512:{}",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    )
    .parse()
    .expect("a digest");
    store.put_blob(&digest, b"abc").expect("FIPS 180-2 says so");
    assert_eq!(store.read_blob(&digest, 10).expect("the blob"), b"abc");
}

#[test]
fn what_has_arrived_is_gone_on_with() {
    let (_dir, store) = store();
    let digest = Digest::of(b"first second");
    let mut ingest = store.ingest(&digest, Wait::No).expect("a turn").expect("not here yet");
    ingest.append(b"first ").expect("room");
    drop(ingest);
    let mut ingest = store.ingest(&digest, Wait::No).expect("a turn").expect("not here yet");
    assert_eq!(ingest.offset(), 6);
    ingest.append(b"second").expect("room");
    ingest.commit().expect("both halves");

    let digest = Digest::of(b"again");
    let mut ingest = store.ingest(&digest, Wait::No).expect("a turn").expect("not here yet");
    ingest.append(b"rubbish that is longer").expect("room");
    ingest.restart().expect("from the start");
    assert_eq!(ingest.offset(), 0);
    ingest.append(b"again").expect("room");
    ingest.commit().expect("the right bytes");
    assert_eq!(store.read_blob(&digest, 10).expect("the blob"), b"again");
}

#[test]
fn one_receives_and_others_wait() {
    let (_dir, store) = store();
    let digest = Digest::of(b"x");
    let mut ingest = store.ingest(&digest, Wait::No).expect("a turn").expect("not here yet");
    assert!(matches!(store.ingest(&digest, Wait::No), Err(StoreError::Busy { .. })));
    std::thread::scope(|scope| {
        let root = store.layout().root();
        let waiter = scope.spawn(move || {
            let store = Store::open(root, Access::Write).expect("the store");
            store.ingest(&digest, PATIENT).expect("a turn").is_none()
        });
        std::thread::sleep(std::time::Duration::from_millis(30));
        ingest.append(b"x").expect("room");
        ingest.commit().expect("the right bytes");
        assert!(waiter.join().expect("the waiter"), "it finds the blob here");
    });
}

#[test]
fn documents_are_checked_when_they_are_read() {
    let (_dir, store) = store();
    let digest = Digest::of(b"{}");
    assert!(matches!(store.read_blob(&digest, 10), Err(StoreError::MissingBlob(_))));
    store.put_blob(&digest, b"{}").expect("the right bytes");
    assert!(matches!(store.put_blob(&digest, b"{ }"), Err(StoreError::DigestMismatch { .. })));
    assert!(matches!(store.read_blob(&digest, 1), Err(StoreError::OversizedBlob { limit: 1, .. })));
    std::fs::write(store.layout().blob(&digest), "[]").expect("damage");
    assert!(matches!(store.read_blob(&digest, 10), Err(StoreError::DamagedBlob(_))));
}
