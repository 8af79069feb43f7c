//! A streamed put: parts in flight while the next one fills; small objects in one request.

use async_trait::async_trait;
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;

use super::{Fault, S3, written};
use crate::{Error, Key, Meta, ObjectStore, Upload};

/// Parts being sent at a time; one more fills.
const IN_FLIGHT: usize = 3;
/// Highest part number that S3 takes.
const MAX_PARTS: i32 = 10_000;

/// An upload that becomes a multipart one with its first full part.
pub(super) struct Multipart {
    store: S3,
    key: Key,
    pending: BytesMut,
    size: u64,
    /// Set from the first part on, until the upload is finished or given up.
    upload_id: Option<String>,
    parts: i32,
    sending: JoinSet<Result<CompletedPart, Error>>,
    sent: Vec<CompletedPart>,
    /// Set while an operation is under way and left set by one that failed or was dropped.
    broken: bool,
}

impl Multipart {
    pub(super) fn new(store: S3, key: Key) -> Self {
        Self {
            store,
            key,
            pending: BytesMut::new(),
            size: 0,
            upload_id: None,
            parts: 0,
            sending: JoinSet::new(),
            sent: Vec::new(),
            broken: false,
        }
    }

    fn error(&self, cause: &str) -> Error {
        Error::Store {
            what: "upload",
            key: self.key.to_string(),
            source: cause.into(),
        }
    }

    /// The multipart upload's identifier, begun where there is none yet.
    async fn begin(&mut self) -> Result<String, Error> {
        if let Some(id) = &self.upload_id {
            return Ok(id.clone());
        }
        let request = self
            .store
            .client
            .create_multipart_upload()
            .bucket(&self.store.bucket)
            .key(self.store.name(&self.key));
        let created = request
            .send()
            .await
            .map_err(|e| self.store.fault("upload", &self.key, &Fault::of(&e)))?;
        let id = created
            .upload_id()
            .ok_or_else(|| self.error("the service named no upload"))?
            .to_owned();
        self.upload_id = Some(id.clone());
        Ok(id)
    }

    /// Starts sending a part; waits while too many are on their way.
    async fn send(&mut self, part: Bytes) -> Result<(), Error> {
        let id = self.begin().await?;
        while self.sending.len() >= IN_FLIGHT {
            self.reap().await?;
        }
        if self.parts == MAX_PARTS {
            return Err(self.error("the object has more parts than S3 takes: raise the part size"));
        }
        self.parts += 1;
        let (store, key, number) = (self.store.clone(), self.key.clone(), self.parts);
        self.sending.spawn(async move {
            let request = store
                .client
                .upload_part()
                .bucket(&store.bucket)
                .key(store.name(&key));
            let sent = request
                .upload_id(id)
                .part_number(number)
                .body(ByteStream::from(part))
                .send()
                .await;
            let sent = sent.map_err(|e| store.fault("upload", &key, &Fault::of(&e)))?;
            Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(sent.e_tag().map(Into::into))
                .build())
        });
        Ok(())
    }

    /// Waits for one part.
    async fn reap(&mut self) -> Result<(), Error> {
        if let Some(part) = self.sending.join_next().await {
            self.sent
                .push(part.map_err(|e| self.error(&e.to_string()))??);
        }
        Ok(())
    }

    async fn write_all(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.size += bytes.len() as u64;
        self.pending.extend_from_slice(&bytes);
        let part_size = self.store.part_size;
        while self.pending.len() >= part_size {
            let part = self.pending.split_to(part_size).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    async fn complete(&mut self) -> Result<Meta, Error> {
        let last = self.pending.split().freeze();
        if self.parts == 0 {
            return self.store.put(&self.key, last).await;
        }
        if !last.is_empty() {
            self.send(last).await?;
        }
        while !self.sending.is_empty() {
            self.reap().await?;
        }
        self.sent.sort_by_key(|part| part.part_number());
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(self.sent.clone()))
            .build();
        let request = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket);
        let request = request
            .key(self.store.name(&self.key))
            .multipart_upload(parts);
        let done = request.set_upload_id(self.upload_id.clone()).send().await;
        let done = done.map_err(|e| self.store.fault("upload", &self.key, &Fault::of(&e)))?;
        self.upload_id = None;
        written(&self.key, self.size, done.e_tag())
    }
}

#[async_trait]
impl Upload for Multipart {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        if std::mem::replace(&mut self.broken, true) {
            return Err(self.error("the upload was given up after an earlier failure"));
        }
        self.write_all(bytes).await?;
        self.broken = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Meta, Error> {
        if self.broken {
            return Err(self.error("the upload was given up after an earlier failure"));
        }
        self.complete().await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), Error> {
        // A part that arrives after the abort would stay behind, paid for.
        self.sending.shutdown().await;
        match self.upload_id.take() {
            Some(id) => abandon(&self.store, &self.key, id).await,
            None => Ok(()),
        }
    }
}

impl Drop for Multipart {
    /// Gives the parts back in the background, as far as a runtime is there to do it.
    fn drop(&mut self) {
        let Some(id) = self.upload_id.take() else {
            return;
        };
        let (store, key) = (self.store.clone(), self.key.clone());
        let mut sending = std::mem::take(&mut self.sending);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                sending.shutdown().await;
                if let Err(error) = abandon(&store, &key, id).await {
                    tracing::warn!(%key, %error, "an abandoned upload's parts were left behind");
                }
            });
        }
    }
}

async fn abandon(store: &S3, key: &Key, id: String) -> Result<(), Error> {
    let request = store
        .client
        .abort_multipart_upload()
        .bucket(&store.bucket)
        .key(store.name(key));
    match request.upload_id(id).send().await {
        Ok(_) => Ok(()),
        Err(e) => match Fault::of(&e) {
            fault if fault.is_gone_upload() => Ok(()),
            fault => Err(store.fault("abort", key, &fault)),
        },
    }
}
