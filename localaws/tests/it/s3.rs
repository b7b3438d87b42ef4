//! S3, with its objects as files in the server's folder.

mod parts;

use std::path::Path;

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{
        ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, Delete,
        ObjectIdentifier,
    },
};

use crate::{
    Local, code,
    raw::{Raw, call, status},
};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

impl Local {
    async fn put(&self, bucket: &str, key: &str, data: &[u8]) -> String {
        let put = self.s3.put_object().bucket(bucket).key(key).body(ByteStream::from(data.to_vec()));
        put.send().await.unwrap().e_tag.unwrap()
    }

    async fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        let got = self.s3.get_object().bucket(bucket).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().to_vec()
    }

    async fn keys(&self, bucket: &str) -> Vec<String> {
        let list = self.s3.list_objects_v2().bucket(bucket).send().await.unwrap();
        list.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn object_is_a_plain_file_and_comes_back() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let data = pattern(300_003);
    local.put(bucket, "ticks/dt=2026-11-23/a.parquet", &data).await;
    assert_eq!(std::fs::read(local.dir.path().join("lake/ticks/dt=2026-11-23/a.parquet")).unwrap(), data);
    assert_eq!(local.get(bucket, "ticks/dt=2026-11-23/a.parquet").await, data);
    local.s3.delete_object().bucket(bucket).key("ticks/dt=2026-11-23/a.parquet").send().await.unwrap();
    assert!(!local.dir.path().join("lake/ticks").exists(), "no empty folders are left");
    local.s3.delete_bucket().bucket(bucket).send().await.unwrap();
}

#[tokio::test]
async fn every_checksum_is_verified_kept_and_returned() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        let put = local.s3.put_object().bucket(bucket).key("k").checksum_algorithm(algorithm.clone());
        let put = put.body(ByteStream::from_static(b"hello")).send().await.unwrap();
        let sums = [
            put.checksum_crc32(),
            put.checksum_crc32_c(),
            put.checksum_crc64_nvme(),
            put.checksum_sha1(),
            put.checksum_sha256(),
        ];
        assert_eq!(sums.iter().flatten().count(), 1, "{algorithm}");
        // The SDK verifies the bytes that it gets.
        let get =
            local.s3.get_object().bucket(bucket).key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
        assert_eq!(get.body.collect().await.unwrap().to_vec(), b"hello");
    }
    let wrong = local.s3.put_object().bucket(bucket).key("bad").checksum_crc32("AAAAAA==");
    assert_eq!(code(wrong.body(ByteStream::from_static(b"hello")).send().await).0, "BadDigest");
    let wrong = local.s3.put_object().bucket(bucket).key("bad").content_md5("AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(code(wrong.body(ByteStream::from_static(b"hello")).send().await).0, "BadDigest");
    assert_eq!(local.keys(bucket).await, ["k"]);
}

#[tokio::test]
async fn streamed_body_is_stored_without_its_chunks() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let data = pattern(3 * 1024 * 1024 + 17);
    let path = local.dir.path().join("upload.bin");
    std::fs::write(&path, &data).unwrap();
    let body = ByteStream::from_path(&path).await.unwrap();
    local.s3.put_object().bucket(bucket).key("k").body(body).send().await.unwrap();
    assert_eq!(local.get(bucket, "k").await, data);
    let head = local.s3.head_object().bucket(bucket).key("k").send().await.unwrap();
    assert_eq!((head.content_length(), head.content_encoding()), (Some(data.len() as i64), None));
}

#[tokio::test]
async fn conditional_put_has_one_winner() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    for round in 0..5 {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let put = local.s3.put_object().bucket(bucket).key(format!("k{round}")).if_none_match("*");
                let put = put.body(ByteStream::from(vec![writer; 100_000]));
                tokio::spawn(async move { put.send().await.map(|_| writer) })
            })
            .collect();
        let mut winners = Vec::new();
        for writer in writers {
            match writer.await.unwrap() {
                Ok(writer) => winners.push(writer),
                lost => assert_eq!(code(lost), ("PreconditionFailed".to_owned(), 412)),
            }
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(local.get(bucket, &format!("k{round}")).await, vec![winners[0]; 100_000]);
    }
}

#[tokio::test]
async fn conditions_on_entity_tags_are_obeyed() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let first = local.put(bucket, "k", b"one").await;
    let put = |tag: &str, key: &str| {
        let put = local.s3.put_object().bucket(bucket).key(key).if_match(tag);
        put.body(ByteStream::from_static(b"two")).send()
    };
    assert_eq!(code(put(&first, "missing").await).0, "NoSuchKey");
    put(&first, "k").await.unwrap();
    assert_eq!(code(put(&first, "k").await).1, 412);
    assert_eq!(local.get(bucket, "k").await, b"two");
    let get = || local.s3.get_object().bucket(bucket).key("k");
    let second = local.s3.head_object().bucket(bucket).key("k").send().await.unwrap().e_tag.unwrap();
    assert_eq!(code(get().if_none_match(&second).send().await).1, 304);
    assert_eq!(code(get().if_match(&first).send().await).1, 412);
    get().if_match(&second).send().await.unwrap();
}

#[tokio::test]
async fn ranges_are_served_and_described() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let data = pattern(700_000);
    local.put(bucket, "k", &data).await;
    for (range, start, end) in [("bytes=0-9", 0, 10), ("bytes=-10", 699_990, 700_000), ("bytes=5-600000", 5, 600_001)] {
        let got = local.s3.get_object().bucket(bucket).key("k").range(range).send().await.unwrap();
        assert_eq!(got.content_range(), Some(&*format!("bytes {start}-{}/700000", end - 1)));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), data[start..end], "{range}");
    }
    let outside = local.s3.get_object().bucket(bucket).key("k").range("bytes=700000-").send().await;
    assert_eq!(code(outside), ("InvalidRange".to_owned(), 416));
}

#[tokio::test]
async fn listing_pages_through_keys_and_common_prefixes() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let mut all: Vec<String> = (0..9).map(|index| format!("t/dt={}/{index}", index % 3)).collect();
    all.extend(["t/top".to_owned(), "u".to_owned()]);
    for key in &all {
        local.put(bucket, key, b"x").await;
    }
    all.sort();
    let (mut keys, mut grouped, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let page = local.s3.list_objects_v2().bucket(bucket).max_keys(2).set_continuation_token(token);
        let page = page.send().await.unwrap();
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(keys, all);
    let mut token = None;
    loop {
        let page = local.s3.list_objects_v2().bucket(bucket).prefix("t/").delimiter("/").max_keys(1);
        let page = page.set_continuation_token(token).send().await.unwrap();
        grouped.extend(page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()));
        grouped.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(grouped, ["t/dt=0/", "t/dt=1/", "t/dt=2/", "t/top"]);
    let after = local.s3.list_objects_v2().bucket(bucket).start_after("t/dt=2/8").send().await.unwrap();
    assert_eq!(after.contents().len(), 2);
}

#[tokio::test]
async fn no_key_leaves_its_bucket_and_all_keys_work() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let long = "x".repeat(300);
    let deep = "seg/".repeat(200) + "x";
    let mut keys = vec![
        "a",
        "a/b",
        "a/b/c",
        "../escape",
        "/etc/passwd",
        "x/../../y",
        ".",
        "..",
        "dir/",
        "dir//x",
        "sp%20ace",
        "a&b<c>'\"d",
        "ünï/ключ.bin",
        "h=00/part 1+x",
        &long,
        &deep,
    ];
    for key in &keys {
        local.put(bucket, key, key.as_bytes()).await;
    }
    for key in &keys {
        assert_eq!(local.get(bucket, key).await, key.as_bytes(), "{key:?}");
    }
    keys.sort_unstable();
    assert_eq!(local.keys(bucket).await, keys);
    let outside: Vec<_> =
        std::fs::read_dir(local.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside.len(), 2, "the bucket and the hidden folder: {outside:?}");
    assert!(!Path::new(local.dir.path()).parent().unwrap().join("escape").exists());
    let over = local.s3.put_object().bucket(bucket).key("k".repeat(1025)).send().await;
    assert_eq!(code(over).0, "KeyTooLongError");
    for key in keys {
        local.s3.delete_object().bucket(bucket).key(key).send().await.unwrap();
    }
    local.s3.delete_bucket().bucket(bucket).send().await.unwrap();
}

#[tokio::test]
async fn objects_are_deleted_in_batches_and_copied() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    for key in ["a", "b/c", "d e+f"] {
        local.put(bucket, key, key.as_bytes()).await;
    }
    let copy = local.s3.copy_object().bucket(bucket).key("copy").copy_source("lake/d%20e%2Bf");
    copy.send().await.unwrap();
    assert_eq!(local.get(bucket, "copy").await, b"d e+f");
    let objects = ["a", "b/c", "never"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(objects.into())).build().unwrap();
    let answer = local.s3.delete_objects().bucket(bucket).delete(delete).send().await.unwrap();
    assert_eq!((answer.deleted().len(), answer.errors().len()), (3, 0));
    assert_eq!(local.keys(bucket).await, ["copy", "d e+f"]);
    assert_eq!(code(local.s3.delete_bucket().bucket(bucket).send().await), ("BucketNotEmpty".to_owned(), 409));
}

#[tokio::test]
async fn missing_things_are_typed_errors() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let get = local.s3.get_object().bucket(bucket).key("none").send().await;
    assert!(get.unwrap_err().as_service_error().unwrap().is_no_such_key());
    let head = local.s3.head_object().bucket(bucket).key("none").send().await;
    assert!(head.unwrap_err().as_service_error().unwrap().is_not_found());
    let list = local.s3.list_objects_v2().bucket("no-such-bucket").send().await;
    assert!(list.unwrap_err().as_service_error().unwrap().is_no_such_bucket());
    assert_eq!(code(local.s3.head_bucket().bucket("no-such-bucket").send().await).1, 404);
    assert_eq!(code(local.s3.create_bucket().bucket(".localaws").send().await).0, "InvalidBucketName");
}

/// S3 user guide: "You can also receive a 409 Conflict response ... if a delete request to an object succeeds before a
/// conditional write operation on that object completes."
#[tokio::test]
async fn delete_during_a_conditional_write_is_a_conflict() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let begin = async |condition: &str| {
        let mut raw = Raw::connect(local.server.addr()).await;
        let head = "PUT /lake/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 8\r\n";
        raw.write(format!("{head}{condition}\r\nhalf")).await;
        while local.server.faults().calls("s3:PutObject") < 2 {
            tokio::time::sleep(crate::MOMENT / 10).await;
        }
        raw
    };
    local.put(bucket, "k", b"old").await;
    let mut conditional = begin("if-none-match: *\r\n").await;
    local.s3.delete_object().bucket(bucket).key("k").send().await.unwrap();
    conditional.write("half").await;
    let answer = conditional.read().await;
    assert_eq!(status(&answer), 409, "{answer}");
    assert!(answer.contains("<Code>ConditionalRequestConflict</Code>"), "{answer}");
    assert_eq!(local.keys(bucket).await, [""; 0]);
    // A retry succeeds, as the guide says. An unconditional write never conflicts.
    let again = call(local.server.addr(), "PUT", "/lake/k", "if-none-match: *\r\n", b"halfhalf").await;
    assert_eq!(status(&again), 200);
    let mut plain = begin("").await;
    local.s3.delete_object().bucket(bucket).key("k").send().await.unwrap();
    plain.write("half").await;
    assert_eq!(status(&plain.read().await), 200);
}

#[tokio::test]
async fn deletes_obey_their_condition() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let tag = local.put(bucket, "k", b"one").await;
    let delete = |key: &str, tag: &str| local.s3.delete_object().bucket(bucket).key(key).if_match(tag).send();
    assert_eq!(code(delete("k", "\"0\"").await), ("PreconditionFailed".to_owned(), 412));
    assert_eq!(code(delete("missing", "*").await), ("NoSuchKey".to_owned(), 404));
    let object = |key: &str, tag: &str| ObjectIdentifier::builder().key(key).e_tag(tag).build().unwrap();
    let both = Delete::builder().objects(object("k", "\"0\"")).objects(object("k", &tag)).build().unwrap();
    let answer = local.s3.delete_objects().bucket(bucket).delete(both).send().await.unwrap();
    assert_eq!(answer.errors()[0].code(), Some("PreconditionFailed"));
    assert_eq!(answer.deleted().len(), 1);
    assert_eq!(local.keys(bucket).await, [""; 0]);
}
