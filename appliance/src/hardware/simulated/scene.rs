//! A drawn scene, so that a picture shows when it was taken and which one it is: a sky by the hour, a sun that moves
//! with the seconds, hills, the time and the number. Small, and quick to encode.

use image::{Rgb, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// The picture is drawn no larger than this, in its own shape; a test camera need not be a good one.
const WIDTH_MAX: u32 = 640;
const HEIGHT_MAX: u32 = 480;
const SIDE_MIN: u32 = 16;
const QUALITY: u8 = 75;

/// A JPEG in the shape of `width` x `height` pixels with `number` and the time of day (hours, minutes, seconds).
pub(super) fn drawn(width: u32, height: u32, number: u64, time: [u8; 3]) -> Vec<u8> {
    let (width, height) = fitted(width.max(1), height.max(1));
    let scene = scene(width.into(), height.into(), number, time);
    let mut jpeg = Vec::with_capacity(64 << 10);
    let mut encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(scene.as_raw(), width, height, ColorType::Rgb)
        .expect("memory takes every byte, and the pixels are as many as width and height say");
    jpeg
}

fn fitted(width: u32, height: u32) -> (u16, u16) {
    let (mut w, mut h) = (u64::from(width), u64::from(height));
    if w > u64::from(WIDTH_MAX) {
        (w, h) = (WIDTH_MAX.into(), h * u64::from(WIDTH_MAX) / w);
    }
    if h > u64::from(HEIGHT_MAX) {
        (w, h) = (w * u64::from(HEIGHT_MAX) / h, HEIGHT_MAX.into());
    }
    let side = |n: u64| u16::try_from(n.max(SIDE_MIN.into())).unwrap_or(u16::MAX);
    (side(w), side(h))
}

fn scene(width: u32, height: u32, number: u64, [hour, minute, second]: [u8; 3]) -> RgbImage {
    let mut image = RgbImage::new(width, height);
    // 0 at midnight, 100 at noon.
    let daylight = 100 - (i32::from(hour) - 12).abs() * 100 / 12;
    let (w, h) = (width.cast_signed(), height.cast_signed());
    let horizon = h * 2 / 3;
    for y in 0..h {
        let colour = if y < horizon {
            let low = y * 100 / horizon;
            shade([40 + low, 90 + low, 200 + low / 3], daylight)
        } else {
            let low = (y - horizon) * 100 / (h - horizon).max(1);
            shade([60, 150 - low / 2, 70], daylight)
        };
        fill(&mut image, 0, y, w, 1, colour);
    }
    // The sun.
    let (radius, x) = (h / 12, w * (2 * i32::from(second) + 1) / 120);
    for dy in -radius..=radius {
        let half = (radius * radius - dy * dy).isqrt();
        fill(&mut image, x - half, horizon / 2 + dy, 2 * half + 1, 1, [255, 220, 120]);
    }
    // One number a picture, also for hills: two pictures differ even to a glance.
    let peak = w * i32::try_from(number % 7).unwrap_or(0) / 7;
    for up in 0..h / 4 {
        let half = 3 * (h / 4 - up);
        fill(&mut image, peak - half, horizon - 1 - up, 2 * half, 1, shade([90, 110, 120], daylight));
    }
    let scale = (w / 160).max(1);
    draw_text(&mut image, 4 * scale, h - 9 * scale, scale, &format!("{hour:02}:{minute:02}:{second:02}"));
    draw_text(&mut image, 4 * scale, 4 * scale, scale, &format!("#{number}"));
    image
}

/// Fills a rectangle; its part outside the image is left out.
fn fill(image: &mut RgbImage, x: i32, y: i32, width: i32, height: i32, colour: [u8; 3]) {
    let within = |from: i32, length: i32, side: u32| {
        let clamp = |at: i32| at.max(0).cast_unsigned().min(side);
        clamp(from)..clamp(from + length)
    };
    for y in within(y, height, image.height()) {
        for x in within(x, width, image.width()) {
            image.put_pixel(x, y, Rgb(colour));
        }
    }
}

fn draw_text(image: &mut RgbImage, mut x: i32, y: i32, scale: i32, text: &str) {
    for c in text.chars() {
        for (row, bits) in (0..).zip(glyph(c)) {
            for column in (0..3).filter(|column| bits & (4 >> column) != 0) {
                let (x, y) = (x + column * scale, y + row * scale);
                fill(image, x + 1, y + 1, scale, scale, [0, 0, 0]);
                fill(image, x, y, scale, scale, [255, 255, 255]);
            }
        }
        x += 4 * scale;
    }
}

fn shade(colour: [i32; 3], daylight: i32) -> [u8; 3] {
    colour.map(|c| u8::try_from((c * (25 + daylight * 3 / 4) / 100).clamp(0, 255)).unwrap_or(0))
}

/// Three pixels wide, five high, the left one is the highest bit.
const fn glyph(c: char) -> [u8; 5] {
    match c {
        '0' => [7, 5, 5, 5, 7],
        '1' => [2, 6, 2, 2, 7],
        '2' => [7, 1, 7, 4, 7],
        '3' => [7, 1, 7, 1, 7],
        '4' => [5, 5, 7, 1, 1],
        '5' => [7, 4, 7, 1, 7],
        '6' => [7, 4, 7, 5, 7],
        '7' => [7, 1, 1, 1, 1],
        '8' => [7, 5, 7, 5, 7],
        '9' => [7, 5, 7, 1, 7],
        ':' => [0, 2, 0, 2, 0],
        '#' => [5, 7, 5, 7, 5],
        _ => [0; 5],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::jpeg::check_jpeg;

    #[test]
    fn a_scene_of_any_size_is_a_picture() {
        for (width, height, size) in [
            (640, 480, (640, 480)),
            (0, 0, (16, 16)),
            (1920, 1080, (640, 360)),
            (u32::MAX, u32::MAX, (480, 480)),
            (17, 900, (16, 480)),
        ] {
            for number in [1, u64::MAX] {
                let jpeg = drawn(width, height, number, [23, 59, 59]);
                assert_eq!(check_jpeg(&jpeg).unwrap(), size);
            }
        }
    }

    #[test]
    fn time_and_number_are_in_the_picture() {
        let first = drawn(640, 480, 1, [12, 0, 0]);
        assert_ne!(first, drawn(640, 480, 2, [12, 0, 0]));
        assert_ne!(first, drawn(640, 480, 1, [12, 0, 1]));
    }
}
