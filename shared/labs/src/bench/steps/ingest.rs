//! Pictures per second from the first publication to the last commit, and the processor time of every process.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keepsake_provision::process::{Events, Program};
use keepsake_provision::servers::database::{Kind, PASSWORD, USER};
use keepsake_provision::servers::mosquitto::Mosquitto;
use keepsake_provision::servers::python::Python;
use keepsake_provision::temp_dir::TempDir;
use keepsake_provision::workspace;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::mqtt_client::Client;

use crate::bench::ceiling::{self, Bytes};
use crate::bench::figures::{Bound, StepResult, as_float};
use crate::bench::load::pictures::{LARGE, MEDIUM, Original, SMALL, Size};
use crate::bench::load::{NativeCamera, ThirdPartyCamera, all_at_once, only_acknowledge};
use crate::bench::usage::{cpu_time, cpu_time_of_threads};
use crate::bench::{Plan, Server, cloud, start_broker};

/// Cameras that send at the same time.
const CAMERAS: u8 = 4;
/// The longest that one contender may take.
const RUN_TIMEOUT: Duration = Duration::from_secs(300);
/// The pause between two questions to the database.
const POLL: Duration = Duration::from_millis(5);

/// A size with the bounds that the ratios to the lab must reach.
struct Case {
    size: Size,
    native_to_lab: f64,
    /// Pictures of the lab, which is slower, and of the others.
    lab_count: usize,
    count: usize,
}

const CASES: [Case; 3] = [
    Case {
        size: SMALL,
        native_to_lab: 5.0,
        lab_count: 1_600,
        count: 6_400,
    },
    Case {
        size: MEDIUM,
        native_to_lab: 10.0,
        lab_count: 320,
        count: 1_920,
    },
    Case { size: LARGE, native_to_lab: 8.0, lab_count: 32, count: 96 },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    /// The listener in Python.
    Lab,
    /// Third-party cameras that publish JPEGs as they are.
    ThirdParty,
    /// Third-party cameras that publish base64.
    ThirdPartyBase64,
    /// Our own cameras.
    Native,
    /// Our own cameras, and a subscriber that only acknowledges.
    Broker,
    Ceiling(Bytes),
}

impl Contender {
    const ALL: [Self; 7] = [
        Self::Lab,
        Self::ThirdParty,
        Self::ThirdPartyBase64,
        Self::Native,
        Self::Broker,
        Self::Ceiling(Bytes::Files),
        Self::Ceiling(Bytes::Segment),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Lab => "lab",
            Self::ThirdParty => "third-party, JPEG",
            Self::ThirdPartyBase64 => "third-party, base64",
            Self::Native => "native",
            Self::Broker => "broker alone",
            Self::Ceiling(Bytes::Files) => "bare writer, a file a picture",
            Self::Ceiling(Bytes::Segment) => "bare writer, one file",
        }
    }
}

/// The outcome of one contender.
struct Outcome {
    pictures_per_s: f64,
    /// Processor time per picture in milliseconds, by process.
    cpu_ms: Vec<(&'static str, f64)>,
}

/// Measures all contenders with every size and database.
pub fn run(plan: &Plan, command: &str) -> Result<StepResult> {
    let mut result = StepResult::new("ingest", command);
    let python = Python::new()?;
    result.add_version(python.version()?);
    for kind in &plan.databases {
        let mut server = Server::start(*kind)?;
        result.add_version(server.version());
        for case in CASES.iter().filter(|case| !plan.quick || case.size == SMALL) {
            let original = Original::new(case.size);
            for _ in 0..plan.repetitions {
                let mut rates = Vec::new();
                for contender in Contender::ALL {
                    let outcome = measure(contender, plan, case, &original, &mut server, &python)
                        .with_context(|| format!("{kind}, {}, {}", case.size.name, contender.name()))?;
                    record(&mut result, *kind, case, contender, &outcome);
                    rates.push((contender, outcome.pictures_per_s));
                }
                record_ratios(&mut result, *kind, case, &rates);
            }
        }
    }
    Ok(result)
}

fn record(result: &mut StepResult, kind: Kind, case: &Case, contender: Contender, outcome: &Outcome) {
    let group = format!("{kind}, {}", case.size.name);
    result.record(&group, contender.name(), "pictures/s", outcome.pictures_per_s);
    if outcome.cpu_ms.is_empty() {
        return;
    }
    let group = format!("{kind}, {}, processor time", case.size.name);
    let total = outcome.cpu_ms.iter().map(|(_, ms)| ms).sum();
    if contender == Contender::Native && case.size == MEDIUM {
        result.record_bounded(&group, contender.name(), "ms a picture", total, Bound::AtMost(0.7));
    } else {
        result.record(&group, contender.name(), "ms a picture", total);
    }
    let parts = format!("{group} by process");
    for (process, ms) in &outcome.cpu_ms {
        result.record(&parts, &format!("{}: {process}", contender.name()), "ms a picture", *ms);
    }
}

/// Records the ratios of one repetition, which are what the bounds are about.
fn record_ratios(result: &mut StepResult, kind: Kind, case: &Case, rates: &[(Contender, f64)]) {
    let rate = |wanted: Contender| rates.iter().find(|(one, _)| *one == wanted).map_or(f64::NAN, |(_, rate)| *rate);
    let group = format!("{kind}, {}, ratios", case.size.name);
    let lab = rate(Contender::Lab);
    let native = rate(Contender::Native);
    let third_party = rate(Contender::ThirdParty);
    let mut ratio = |name: &str, value: f64, least: f64| {
        result.record_bounded(&group, name, "×", value, Bound::AtLeast(least));
    };
    ratio("native : lab", native / lab, case.native_to_lab);
    ratio("third-party : native", third_party / native, 0.7);
    ratio(
        "native : bare writer, a file a picture",
        native / rate(Contender::Ceiling(Bytes::Files)),
        0.5,
    );
    ratio("native : bare writer, one file", native / rate(Contender::Ceiling(Bytes::Segment)), 0.5);
    for (name, value) in [
        ("third-party : lab", third_party / lab),
        ("third-party, base64 : lab", rate(Contender::ThirdPartyBase64) / lab),
        ("bare writer, a file a picture : lab", rate(Contender::Ceiling(Bytes::Files)) / lab),
        ("bare writer, one file : lab", rate(Contender::Ceiling(Bytes::Segment)) / lab),
        ("broker alone : lab", rate(Contender::Broker) / lab),
    ] {
        result.record(&group, name, "×", value);
    }
}

fn measure(
    contender: Contender,
    plan: &Plan,
    case: &Case,
    original: &Original,
    server: &mut Server,
    python: &Python,
) -> Result<Outcome> {
    let folder = TempDir::new("bench");
    let schema = server.new_schema();
    let count = plan.count(if contender == Contender::Lab {
        case.lab_count
    } else {
        case.count
    });
    let each = count / usize::from(CAMERAS);
    match contender {
        Contender::Ceiling(bytes) => {
            let mut connection = server.database.connect(&schema);
            let took = ceiling::run(&mut connection, &folder, bytes, &original.copy(1), count)?;
            Ok(Outcome {
                pictures_per_s: as_float(count) / took.as_secs_f64(),
                cpu_ms: Vec::new(),
            })
        }
        Contender::Lab => {
            let broker = start_broker(&folder)?;
            let cameras = third_party(|_| "camera/image".to_owned(), each, original, true);
            lab(&broker, server, &schema, python, &folder, cameras, each * usize::from(CAMERAS))
        }
        Contender::Broker => {
            let broker = start_broker(&folder)?;
            let cameras = native(each, original, case.size);
            let mut subscriber = Client::connect(broker.port(), "only-acknowledges")?;
            subscriber.subscribe("keepsake/v1/+/up/frame")?;
            let messages = each * usize::from(CAMERAS) * cameras.first().map_or(1, NativeCamera::messages_a_picture);
            let start = Instant::now();
            let receiving = thread::spawn(move || only_acknowledge(subscriber, messages));
            all_at_once(cameras, |camera| camera.publish(broker.port()))?;
            receiving.join().expect("a subscriber does not panic")?;
            Ok(Outcome {
                pictures_per_s: as_float(count) / start.elapsed().as_secs_f64(),
                cpu_ms: Vec::new(),
            })
        }
        Contender::ThirdParty | Contender::ThirdPartyBase64 => {
            let run = CloudRun::start(&folder, server, &schema)?;
            let base64 = contender == Contender::ThirdPartyBase64;
            let cameras = third_party(|number| format!("camera/third-party-{number}/image"), each, original, base64);
            run.measure(server, each * usize::from(CAMERAS), |port| {
                all_at_once(cameras, |camera| camera.publish(port))
            })
        }
        Contender::Native => {
            let run = CloudRun::start(&folder, server, &schema)?;
            let cameras = native(each, original, case.size);
            run.measure(server, each * usize::from(CAMERAS), |port| {
                all_at_once(cameras, |camera| camera.upload(port))
            })
        }
    }
}

fn native(each: usize, original: &Original, size: Size) -> Vec<NativeCamera> {
    (1..=CAMERAS).map(|number| NativeCamera::new(number, each, original, size)).collect()
}

fn third_party(topic: impl Fn(u8) -> String, each: usize, original: &Original, base64: bool) -> Vec<ThirdPartyCamera> {
    let camera = |number| ThirdPartyCamera::new(number, &topic(number), each, original, base64);
    (1..=CAMERAS).map(camera).collect()
}

/// A cloud with a broker of its own.
struct CloudRun {
    cloud: Cloud,
    broker: Mosquitto,
}

impl CloudRun {
    fn start(folder: &std::path::Path, server: &Server, schema: &str) -> Result<Self> {
        let broker = start_broker(folder)?;
        let cloud = cloud(folder, Some(&broker), Some(&server.database.url(schema))).started();
        Ok(Self { cloud, broker })
    }

    /// Measures `send` until all `count` pictures are committed.
    fn measure(mut self, server: &Server, count: usize, send: impl FnOnce(u16) -> Result<()>) -> Result<Outcome> {
        let store = self.cloud.store();
        let pids = [
            ("cloud", self.cloud.pid()),
            ("database", server.database.pid()),
            ("broker", self.broker.pid()),
        ];
        let before = pids.map(|(_, pid)| cpu_time(pid));
        let thumbnails_before = cpu_time_of_threads(self.cloud.pid(), THUMBNAIL_THREADS);
        let start = Instant::now();
        send(self.broker.port())?;
        while store.last_arrival() < count as u64 {
            ensure!(start.elapsed() < RUN_TIMEOUT, "{} of {count} stored", store.picture_count());
            thread::sleep(POLL);
        }
        let took = start.elapsed();
        let after = pids.map(|(_, pid)| cpu_time(pid));
        let thumbnails = cpu_time_of_threads(self.cloud.pid(), THUMBNAIL_THREADS).saturating_sub(thumbnails_before);
        let stored = store.picture_count();
        ensure!(stored == count as u64, "{stored} pictures stored instead of {count}");
        self.cloud.kill();
        let mut cpu_ms: Vec<_> = (0..pids.len())
            .map(|index| (pids[index].0, a_picture_ms(after[index] - before[index], count)))
            .collect();
        let thumbnails = a_picture_ms(thumbnails, count);
        cpu_ms[0].1 -= thumbnails;
        cpu_ms.push(("thumbnails", thumbnails));
        Ok(Outcome { pictures_per_s: as_float(count) / took.as_secs_f64(), cpu_ms })
    }
}

/// The start of the names of the threads that make thumbnails.
const THUMBNAIL_THREADS: &str = "decode";

fn a_picture_ms(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e3 / as_float(count)
}

/// Measures the listener of the lab until it has committed all pictures.
fn lab(
    broker: &Mosquitto,
    server: &Server,
    schema: &str,
    python: &Python,
    folder: &std::path::Path,
    cameras: Vec<ThirdPartyCamera>,
    count: usize,
) -> Result<Outcome> {
    let mut command = python.script(&workspace::root().join("shared/labs/baseline/listener.py"));
    let option = |name: &str, value: String| [format!("--{name}"), value];
    command.args(option("broker-port", broker.port().to_string()));
    command.args(option("database-port", server.database.port().to_string()));
    command
        .args(option("user", USER.to_owned()))
        .args(option("password", PASSWORD.to_owned()));
    command.args(option("schema", schema.to_owned())).args(option("count", count.to_string()));
    command.args(option("folder", folder.join("received").display().to_string()));
    let events: Arc<Events> = Arc::default();
    let listener = Program::start(command, &events, &folder.join("listener.log"));
    let expect = |event: &str| {
        let found = events.wait(0, RUN_TIMEOUT, |lines| lines.iter().any(|line| line["event"] == event).then_some(()));
        found.map_err(|why| anyhow::anyhow!("{event}: {why:?}\n{}", listener.last_words()))
    };
    expect("listening")?;
    let pids = [
        ("listener", listener.pid()),
        ("database", server.database.pid()),
        ("broker", broker.pid()),
    ];
    let before = pids.map(|(_, pid)| cpu_time(pid));
    let start = Instant::now();
    all_at_once(cameras, |camera| camera.publish(broker.port()))?;
    expect("stored")?;
    let took = start.elapsed();
    let cpu = pids
        .iter()
        .zip(before)
        .map(|((name, pid), before)| (*name, a_picture_ms(cpu_time(*pid) - before, count)));
    let cpu_ms = cpu.collect();
    listener.kill();
    Ok(Outcome { pictures_per_s: as_float(count) / took.as_secs_f64(), cpu_ms })
}
