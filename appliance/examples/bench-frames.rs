//! Measures the conversion of a frame of each format to a JPEG, 1920 x 1080 pixels, on this machine: `cargo bench-frames`.

use std::hint::black_box;
use std::time::Instant;

use keepsake_appliance::hardware::v4l::convert::{Layout, Raw, from_mjpeg};
use keepsake_appliance::imaging::jpeg::check_jpeg;

const WIDTH: u16 = 1920;
const HEIGHT: u16 = 1080;
/// The median counts.
const RUNS: usize = 31;

fn main() {
    let frame = frame();
    let mut jpeg = Vec::new();
    for (fourcc, layout) in Layout::KNOWN {
        let raw = Raw {
            layout,
            width: WIDTH,
            height: HEIGHT,
            stride: 0,
            full_range: false,
            rec709: false,
        };
        let encoded = || raw.to_jpeg(&frame).ok().flatten().unwrap_or_default();
        let ms = median_ms(|| drop(black_box(encoded())));
        jpeg = encoded();
        println!("{} {ms:7.2} ms  {} KiB", fourcc.escape_ascii(), jpeg.len() >> 10);
    }
    println!("MJPG {:7.2} ms  checked, and copied", median_ms(|| drop(black_box(from_mjpeg(&jpeg)))));
    println!(
        "     {:7.2} ms  of that to follow its markers",
        median_ms(|| {
            let _ = black_box(check_jpeg(&jpeg));
        })
    );
}

/// Slopes with some noise, as a sensor gives them; enough bytes for the format that needs most.
fn frame() -> Vec<u8> {
    let mut noise = 1u32;
    (0..usize::from(WIDTH) * usize::from(HEIGHT) * 3)
        .map(|n| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [.., grain] = noise.to_le_bytes();
            let [slope, ..] = (n / 64 % 160).to_le_bytes();
            40 + slope + grain % 8
        })
        .collect()
}

fn median_ms(mut run: impl FnMut()) -> f64 {
    let mut took: Vec<f64> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[RUNS / 2]
}
