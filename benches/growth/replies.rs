//! Replies from 64 bytes to 64 megabytes.

use std::time::Duration;

use redis_rw_pool::{
    Pool, ReadFrom,
    redis::{Cmd, cmd},
};
use testkit::{Client, Deployment};
use tokio::time::{Instant, sleep};

use crate::{
    figure::{bytes, number},
    handle::{HANDLES, Handle},
    meter,
    row::{self, Measured, Row, Sample},
    table::Table,
};

pub(crate) const NAME: &str = "replies";

const SIZES: [usize; 6] = [64, 1 << 10, 16 << 10, 256 << 10, 4 << 20, 64 << 20];
const ROUNDS: usize = 3;
const ELEMENT: usize = 64;

/// Long enough for a thousand small replies, and three of the largest in any case.
const MEASURED: Duration = Duration::from_millis(250);
const AT_LEAST: u32 = 3;
/// Until the pool's own start is over.
const SETTLE: Duration = Duration::from_millis(200);

pub(crate) fn tables() -> Vec<Table> {
    let deployment = Deployment::builder().replicas(0).sentinels(1).start();
    fill(&deployment);
    let mut rows = Vec::new();
    for n in SIZES {
        for handle in HANDLES {
            for shape in ["string", "list"] {
                let how = format!("{handle} {shape}");
                rows.push(Row::new(NAME, &how, n, &deployment));
            }
        }
    }
    let mut table = Table::new(&[
        "reply",
        "by",
        "CPU µs",
        "CPU ns a byte",
        "heap at most",
        "a byte",
        "heap that stays",
        "resident that stays",
    ]);
    for row in row::medians(&rows, ROUNDS) {
        table.row(cells(&row));
    }
    table.note(
        "One string, or a list of strings of 64 bytes, as a `redis::Value`. *At most*: while the \
         first such reply is read, itself included. *Stays*: when the value is dropped and the \
         connection is back; what is resident includes pages that the system's allocator keeps.",
    );
    vec![table]
}

fn fill(deployment: &Deployment) {
    const SCRIPT: &str = "for i = 1, ARGV[1] do redis.call('RPUSH', KEYS[1], ARGV[2]) end";
    let master = deployment.master();
    let mut client =
        Client::connect(master.port(), Duration::from_secs(60)).expect("the master runs");
    for size in SIZES {
        let list = format!("list:{size}");
        let string = format!("string:{size}");
        let (last, count) = ((size - 1).to_string(), (size / ELEMENT).to_string());
        let element = "e".repeat(ELEMENT);
        let commands: [&[&str]; 2] = [
            &["SETRANGE", &string, &last, "x"],
            &["EVAL", SCRIPT, "1", &list, &count, &element],
        ];
        for command in commands {
            let reply = client.call(command).expect("the master runs");
            assert!(!reply.is_error(), "{reply:?}");
        }
    }
}

fn cells(row: &Measured) -> [String; 8] {
    let (handle, shape) = row.how.split_once(' ').expect("a handle and a shape");
    [
        bytes(row.n),
        format!("`{handle}`, {shape}"),
        number(row.get("cpu") * 1e6),
        number(row.each("cpu") * 1e9),
        bytes(row.get("peak")),
        number(row.each("peak")),
        // Below nothing where the command before the reply left more.
        bytes(row.get("heap").max(0.0)),
        bytes(row.get("resident").max(0.0)),
    ]
}

pub(crate) async fn measure(row: Row) -> Sample {
    let mut config = row.config();
    config.read_from = ReadFrom::Master;
    let pool = Pool::connect(config).await.expect("a healthy deployment");
    let (handle, shape) = row.how.split_once(' ').expect("a handle and a shape");
    let handle = Handle::new(handle, &pool);
    // What the first command and the start leave behind is not the reply's doing.
    handle.send(&cmd("PING")).await;
    sleep(SETTLE).await;
    let command = command(shape, row.n);
    let (heap, resident) = (meter::heap(), meter::resident());
    let peak = meter::peak();
    drop(handle.send(&command).await);
    let peak = peak.reached();
    let (heap, resident) = (meter::heap() - heap, meter::resident() - resident);
    let cpu = cpu(&handle, &command).await;
    vec![
        ("cpu", cpu),
        ("peak", peak),
        ("heap", heap),
        ("resident", resident),
    ]
}

fn command(shape: &str, size: usize) -> Cmd {
    let key = format!("{shape}:{size}");
    match shape {
        "string" => cmd("GET").arg(key).take(),
        _ => cmd("LRANGE").arg(key).arg(0).arg(-1).take(),
    }
}

async fn cpu(handle: &Handle, command: &Cmd) -> f64 {
    let (began, cpu) = (Instant::now(), meter::cpu());
    let mut count = 0_u32;
    while count < AT_LEAST || began.elapsed() < MEASURED {
        drop(handle.send(command).await);
        count += 1;
    }
    (meter::cpu() - cpu).as_secs_f64() / f64::from(count)
}
