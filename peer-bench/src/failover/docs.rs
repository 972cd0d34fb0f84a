//! `docs/failover.md` and its pictures.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::failover::{
    broadcast::PUBLISH_PERIOD,
    candidates::COMMAND_TIMEOUT,
    figures::{GRACE, SLACK},
    options::Options,
    picture, report,
    results::Results,
    summary::Summary,
};

pub(crate) fn write(results: &Results, summary: &Summary, options: &Options) -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let pictures = docs.join("failover");
    fs::create_dir_all(&pictures).with_context(|| format!("cannot make {}", pictures.display()))?;
    for chapter in &summary.kinds {
        if let Some(round) = results.of(chapter.kind).next() {
            let name = format!("{}.svg", chapter.kind.name());
            picture::draw(&pictures.join(name), round)?;
        }
    }
    let page = docs.join("failover.md");
    fs::write(&page, text(results, summary, options))
        .with_context(|| format!("cannot write {}", page.display()))?;
    eprintln!("wrote {} and its pictures", page.display());
    Ok(())
}

fn text(results: &Results, summary: &Summary, options: &Options) -> String {
    let pictures: Vec<_> = summary
        .kinds
        .iter()
        .map(|chapter| {
            format!(
                "![{}](failover/{}.svg)\n",
                chapter.kind,
                chapter.kind.name()
            )
        })
        .collect();
    format!(
        "\
# Failovers, as callers notice them

```text
{command}
```

plays everything again, on servers that it starts itself, and writes this page. Without
`--write-docs` it prints the tables; `ARGS=--help` lists the rest.

A round has a master, two replicas and three Sentinels of its own (Sentinel's default periods, a node
is down after 1 s of silence, `failover-timeout` 3 s), and one thing goes wrong in it. All candidates
write and read while it does, so that they meet the same failover: each has a thread that makes
calls at a fixed rate and waits for none of them, and a runtime of its own. Every write is a key of its
own. The replicas are in step before the fault.

Witnesses who share no code with any candidate ask every node for its role every 2 ms, write to the
new master as soon as it says that it is one, ask every Sentinel every 2 ms who the master is, and listen
to all their events. In the end every acknowledged key is looked for on the final master.

Each candidate is used as its documentation says, with as many connections as ours where it has a
pool; the files in `peer-bench/src/failover/candidates/` say how. Who has no deadline for commands by
default got ours, {timeout:?}. Reads go to replicas, except with rustis, which offers that for
clusters only.

- **lost**: acknowledged, and not on the master afterwards.
- **stale**: acknowledged by the old master although the call began after the first Sentinel had
  published that it is being replaced and {grace:?} more, or after it had been frozen. The old master it was if
  the write is lost or if no other node took writes yet.
- **not executed, unknown, other**: what the caller of a failed write can know of it. For the
  others: not executed if the pool lent no connection or the server refused with READONLY or the
  like, other if the server answered with another error, or else unknown.
- **stall**: the longest time in which no write, no read of that candidate succeeded. In open loop
  one is due every 4 ms, every 10 ms.
- **added by the client**: from the moment at which the new master takes writes and a Sentinel
  announces it until it acknowledges a write of this candidate. It is negative where the client does
  not wait for the announcement.
- **overdue**: reads and writes that took more than {overdue:?}, from when it was their turn; a
  call that succeeded has that time once there is a new master.

Subscribers listen to two channels, each with a number every {publish:?}. One is published by a witness at
whoever is the master, on the new one as soon as that takes writes; the other through `writer()` of
ours with its defaults, which waits behind the fence. The files in `peer-bench/src/failover/subscribers/`
say how each subscriber is used.

- **silent**: the longest time after the fault in which a subscriber heard nothing of the witness.
- **lost**: a server took the message, and the subscriber never got it.
- **told after**: from the fault until the client first said that messages may be missing. With ours
  that is a gap, which comes in its place among the messages. With the loop it is the end of the stream, and with
  fred and rustis that they have reconnected, which they tell on a channel of its own.
- **lost and not told**: no such word came after it; with ours, none whose span it falls into. What the
  witness sent at the old master when the new one took writes already does not count.

Cells have the median over the rounds, and the greatest in brackets where it differs.

{pictures}
The pictures show the first round of each kind.

## Numbers

{report}",
        command = command(options),
        timeout = COMMAND_TIMEOUT,
        publish = PUBLISH_PERIOD,
        grace = GRACE,
        overdue = COMMAND_TIMEOUT + SLACK,
        pictures = pictures.join("\n"),
        report = report::markdown(results, summary, options),
    )
}

fn command(options: &Options) -> String {
    format!("make failover-bench ARGS='{}'", options.arguments.join(" "))
}
