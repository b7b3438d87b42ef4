//! Objects that are sent in parts. This file does *not* own other operations of S3.

use super::*;

#[tokio::test]
async fn parts_become_one_object_under_its_condition() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let parts = [pattern(5 * 1024 * 1024), pattern(1000)];
    let create = local.s3.create_multipart_upload().bucket(bucket).key("k").metadata("m", "v");
    let id = create.send().await.unwrap().upload_id.unwrap();
    let mut completed = Vec::new();
    for (number, part) in (1..).zip(&parts) {
        let upload = local.s3.upload_part().bucket(bucket).key("k").upload_id(&id).part_number(number);
        let tag = upload.body(ByteStream::from(part.clone())).send().await.unwrap().e_tag.unwrap();
        completed.push(CompletedPart::builder().part_number(number).e_tag(tag).build());
    }
    let listed = local.s3.list_parts().bucket(bucket).key("k").upload_id(&id).send().await.unwrap();
    assert_eq!(listed.parts().len(), 2);
    let complete = |parts: Vec<CompletedPart>| {
        let complete = local.s3.complete_multipart_upload().bucket(bucket).key("k").upload_id(&id).if_none_match("*");
        complete.multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build()).send()
    };
    local.put(bucket, "k", b"old").await;
    assert_eq!(code(complete(completed.clone()).await), ("PreconditionFailed".to_owned(), 412));
    local.s3.delete_object().bucket(bucket).key("k").send().await.unwrap();
    let reversed = completed.iter().rev().cloned().collect();
    assert_eq!(code(complete(reversed).await).0, "InvalidPartOrder");
    let tag = complete(completed).await.unwrap().e_tag.unwrap();
    assert!(tag.ends_with("-2\""), "{tag}");
    assert_eq!(local.get(bucket, "k").await, parts.concat());
    let head = local.s3.head_object().bucket(bucket).key("k").send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["m"], "v");
    let scratch = local.dir.path().join(".localaws/scratch");
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0, "the parts are gone");
}

#[tokio::test]
async fn checksums_of_parts_become_that_of_the_whole() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let parts = [pattern(5 * 1024 * 1024), pattern(77)];
    for (algorithm, kind, ending) in [
        (ChecksumAlgorithm::Sha256, ChecksumType::Composite, "-2"),
        (ChecksumAlgorithm::Crc32, ChecksumType::FullObject, "=="),
        (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject, "="),
    ] {
        let create = local.s3.create_multipart_upload().bucket(bucket).key("k").checksum_algorithm(algorithm.clone());
        let id = create.checksum_type(kind.clone()).send().await.unwrap().upload_id.unwrap();
        let mut completed = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(&parts) {
            let upload = local.s3.upload_part().bucket(bucket).key("k").upload_id(&id).part_number(number);
            let upload = upload.checksum_algorithm(algorithm.clone()).body(ByteStream::from(part.clone()));
            let sent = upload.send().await.unwrap();
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
            let part = part.set_checksum_sha256(sent.checksum_sha256).set_checksum_crc32(sent.checksum_crc32);
            completed = completed.parts(part.build());
        }
        let complete = local.s3.complete_multipart_upload().bucket(bucket).key("k").upload_id(&id);
        let complete = complete.multipart_upload(completed.build());
        let wrong_size = complete.clone().mpu_object_size(1).send().await;
        assert_eq!(code(wrong_size).0, "InvalidRequest");
        let done = complete.send().await.unwrap();
        let value =
            [done.checksum_sha256(), done.checksum_crc32(), done.checksum_crc64_nvme()].into_iter().flatten().next();
        assert!(value.unwrap().ends_with(ending), "{algorithm}: {value:?}");
        assert_eq!(done.checksum_type(), Some(&kind));
        // The SDK verifies a checksum of the whole object.
        let get = local.s3.get_object().bucket(bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        assert_eq!(get.send().await.unwrap().body.collect().await.unwrap().to_vec(), parts.concat());
    }
    let odd = local.s3.create_multipart_upload().bucket(bucket).key("k").checksum_algorithm(ChecksumAlgorithm::Sha1);
    assert_eq!(code(odd.checksum_type(ChecksumType::FullObject).send().await).0, "InvalidRequest");
}

#[tokio::test]
async fn list_of_keys_that_is_not_the_one_promised_is_refused() {
    let local = Local::start().await;
    local.bucket("lake").await;
    let signed = format!("x-amz-content-sha256: {}\r\n", "0".repeat(64));
    let list = b"<Delete><Object><Key>k</Key></Object></Delete>";
    for headers in [signed.as_str(), "content-md5: AAAAAAAAAAAAAAAAAAAAAA==\r\n", "x-amz-checksum-crc32: AAAAAA==\r\n"]
    {
        let answer = call(local.server.addr(), "POST", "/lake?delete", headers, list).await;
        assert_eq!(status(&answer), 400, "{headers}: {answer}");
    }
}
