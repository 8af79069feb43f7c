//! An object store in memory, and the faults to inject into it.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use storage::{Error, Key, Meta, Object, ObjectStore, Upload};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    objects: Mutex<BTreeMap<String, (Bytes, SystemTime)>>,
    /// Calls of `get`.
    pub(crate) gets: AtomicUsize,
    /// Whether every call fails.
    pub(crate) broken: AtomicBool,
}

impl Memory {
    fn find(&self, key: &Key) -> Result<(Bytes, Meta), Error> {
        if self.broken.load(Ordering::Relaxed) {
            let source = "unplugged".into();
            return Err(Error::Store {
                what: "get",
                key: key.to_string(),
                source,
            });
        }
        let objects = self.objects.lock().unwrap();
        let found = objects.get(key.as_str()).cloned();
        let (bytes, modified) = found.ok_or_else(|| Error::NotFound(key.clone()))?;
        let meta = Meta {
            key: key.clone(),
            size: bytes.len() as u64,
            etag: "x".into(),
            modified,
        };
        Ok((bytes, meta))
    }
}

#[async_trait]
impl ObjectStore for Memory {
    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta, Error> {
        let entry = (body, SystemTime::now());
        self.objects
            .lock()
            .unwrap()
            .insert(key.as_str().into(), entry);
        self.find(key).map(|(_, meta)| meta)
    }

    async fn upload(&self, _: &Key) -> Result<Box<dyn Upload>, Error> {
        Err(Error::Config("not needed".into()))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let (bytes, meta) = self.find(key)?;
        let range = range.unwrap_or(0..meta.size);
        if range.start >= meta.size && meta.size > 0 {
            return Err(Error::BadRange {
                key: key.clone(),
                start: range.start,
                size: meta.size,
            });
        }
        let range = range.start..range.end.min(meta.size);
        let part = bytes.slice(range.start as usize..range.end as usize);
        let chunks: Vec<_> = part.chunks(1_000).map(|c| Ok(part.slice_ref(c))).collect();
        Ok(Object {
            meta,
            range,
            body: stream::iter(chunks).boxed(),
        })
    }

    async fn head(&self, key: &Key) -> Result<Meta, Error> {
        self.find(key).map(|(_, meta)| meta)
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<Meta, Error>> {
        let keys: Vec<String> = self.objects.lock().unwrap().keys().cloned().collect();
        let metas: Vec<_> = keys
            .into_iter()
            .filter(|k| k.starts_with(prefix))
            .map(|k| self.find(&Key::new(k)?).map(|(_, meta)| meta))
            .collect();
        stream::iter(metas).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.objects.lock().unwrap().remove(key.as_str());
        Ok(())
    }
}
