//! A run from its arguments to its report.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tokio::task::JoinSet;

use crate::{
    args::{Args, Mode, Protocol},
    catalog::{self, Item},
    client::{Ask, Dialer, Link},
    player, ranges,
    report::Report,
    stats::{Live, Tally},
    target::Target,
};

/// Most bytes of objects kept to compare with.
const MAX_VERIFY_BYTES: u64 = 512 << 20;
/// Objects kept to compare with.
const MAX_VERIFY_OBJECTS: usize = 16;

/// Runs a load test: prints progress to standard error and the report to standard output.
///
/// # Errors
/// Where it can't begin, or no request at all succeeded.
pub async fn run(args: Args) -> anyhow::Result<Report> {
    let url = args
        .target
        .as_ref()
        .or(args.catalog.as_ref())
        .context("no target")?;
    let target = Target::resolve(url, args.allow_remote).await?;
    let protocol = args.protocol.unwrap_or(if target.secure {
        Protocol::H2
    } else {
        Protocol::H1
    });
    args.check(protocol)?;
    let dialer = Dialer::new(&args, &target, protocol)?;
    let scout = Link::new(dialer.clone());
    scout
        .warm()
        .await
        .with_context(|| format!("{} by {}", target.authority, protocol.as_str()))?;
    let items = items(&args, &target, &scout).await?;
    let bodies = if args.verify {
        bodies(&scout, &items).await?
    } else {
        Vec::new()
    };
    let items = if args.verify {
        items.into_iter().take(bodies.len()).collect()
    } else {
        items
    };
    drop(scout);

    let links = connect(&dialer, args.connections).await?;
    let started = Instant::now();
    let (tally, listeners) = match args.mode {
        Mode::Range => (
            fetch_ranges(&args, protocol, links, items, bodies, started).await?,
            None,
        ),
        Mode::Player => (
            play(&args, links, items, started).await?,
            Some(args.connections),
        ),
    };
    let report = Report::new(protocol.as_str(), listeners, &tally, started.elapsed());
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{report}")?;
    }
    ensure!(
        report.failed() < report.requests,
        "no request succeeded: {:?}",
        report.errors
    );
    Ok(report)
}

/// What to fetch: the one object named, or all of the catalogue.
async fn items(args: &Args, target: &Target, scout: &Link) -> anyhow::Result<Vec<Item>> {
    let whole_catalogue = args.catalog.is_some() || target.path == "/";
    if whole_catalogue {
        return catalog::read(scout, &args.rendition).await;
    }
    // One byte tells the size and whether ranges work.
    let got = scout.fetch(&Ask::range(target.path.as_str(), 0, 1)).await;
    let got = got.with_context(|| format!("trying a range of {}", target.path))?;
    let start = args.range_size.min(got.size);
    Ok(vec![Item {
        path: target.path.clone(),
        size: got.size,
        start,
    }])
}

/// The first objects in full.
async fn bodies(scout: &Link, items: &[Item]) -> anyhow::Result<Vec<bytes::Bytes>> {
    let mut bodies = Vec::new();
    let mut sum = 0;
    for item in items.iter().take(MAX_VERIFY_OBJECTS) {
        sum += item.size;
        if sum > MAX_VERIFY_BYTES {
            break;
        }
        let got = scout
            .fetch(&Ask::get(item.path.as_str()))
            .await
            .with_context(|| item.path.clone())?;
        ensure!(
            got.body.len() as u64 == item.size,
            "{} is not as long as it says",
            item.path
        );
        bodies.push(got.body);
    }
    ensure!(!bodies.is_empty(), "the object is too large for --verify");
    Ok(bodies)
}

/// Makes all connections, a few at a time, before the clock starts.
async fn connect(dialer: &Dialer, count: usize) -> anyhow::Result<Vec<Arc<Link>>> {
    let links: Vec<_> = (0..count)
        .map(|_| Arc::new(Link::new(dialer.clone())))
        .collect();
    for group in links.chunks(64) {
        let mut warming = JoinSet::new();
        for link in group {
            let link = Arc::clone(link);
            warming.spawn(async move { link.warm().await });
        }
        while let Some(done) = warming.join_next().await {
            done.context("connecting")?.context("connecting")?;
        }
    }
    Ok(links)
}

async fn fetch_ranges(
    args: &Args,
    protocol: Protocol,
    links: Vec<Arc<Link>>,
    items: Vec<Item>,
    bodies: Vec<bytes::Bytes>,
    started: Instant,
) -> anyhow::Result<Tally> {
    let plan = Arc::new(ranges::Plan {
        items,
        bodies,
        range_size: args.range_size,
        started,
        deadline: started + args.duration,
        left: AtomicU64::new(args.requests.unwrap_or(u64::MAX)),
        interval: args.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
        begun: AtomicU64::new(0),
        live: Live::default(),
    });
    let mut workers = JoinSet::new();
    for (i, link) in links.into_iter().enumerate() {
        for stream in 0..args.streams(protocol) {
            let seed = args.seed ^ ((i as u64) << 20 | stream as u64);
            workers.spawn(ranges::work(plan.clone(), link.clone(), seed));
        }
    }
    gather(args, workers, &plan.live, started).await
}

async fn play(
    args: &Args,
    links: Vec<Arc<Link>>,
    items: Vec<Item>,
    started: Instant,
) -> anyhow::Result<Tally> {
    let plan = Arc::new(player::Plan::new(
        items,
        args.speed,
        args.buffer,
        started + args.duration,
    ));
    let mut listeners = JoinSet::new();
    for (i, link) in links.into_iter().enumerate() {
        listeners.spawn(player::listen(
            plan.clone(),
            link,
            args.seed ^ (i as u64) << 20,
        ));
    }
    gather(args, listeners, &plan.live, started).await
}

/// Waits for the workers and shows how they get on. What hangs beyond duration and timeout is
/// given up.
async fn gather(
    args: &Args,
    mut workers: JoinSet<Tally>,
    live: &Live,
    started: Instant,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut last = (0, 0);
    let last_call = started + args.duration + 2 * args.timeout + Duration::from_secs(1);
    loop {
        tokio::select! {
            done = workers.join_next() => match done {
                Some(done) => tally.merge(&done.context("a worker failed")?),
                None => return Ok(tally),
            },
            _ = ticks.tick(), if !args.json => last = progress(live, last, started),
            () = tokio::time::sleep_until(last_call.into()) => bail!("the target hangs: requests outlived their timeout"),
        }
    }
}

/// Writes a line with the last second's figures.
fn progress(live: &Live, last: (u64, u64), started: Instant) -> (u64, u64) {
    let now = (
        live.requests.load(Ordering::Relaxed),
        live.bytes.load(Ordering::Relaxed),
    );
    let errors = live.errors.load(Ordering::Relaxed);
    let (requests, megabytes) = (now.0 - last.0, (now.1 - last.1) as f64 / 1e6);
    let seconds = started.elapsed().as_secs();
    // Progress is a courtesy: a closed terminal is no reason to stop.
    let _ = writeln!(
        std::io::stderr(),
        "{seconds:>4} s  {requests:>8} requests/s  {megabytes:>9.1} MB/s  {errors} failed"
    );
    now
}
