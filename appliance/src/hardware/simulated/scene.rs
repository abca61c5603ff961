//! A drawn scene, so that a picture shows when it was taken and which one it is: a sky by the hour, a sun that moves
//! with the seconds, hills, the time and the number. Small, and quick to encode.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// The picture is drawn no larger than this, in its own shape; a test camera need not be a good one.
const WIDTH_MAX: u32 = 640;
const HEIGHT_MAX: u32 = 480;
const SIDE_MIN: u32 = 16;
const QUALITY: u8 = 75;

type Rgb = [u8; 3];

/// A JPEG in the shape of `width` x `height` pixels with `number` and the time of day (hours, minutes, seconds).
pub(super) fn drawn(width: u32, height: u32, number: u64, time: [u8; 3]) -> Vec<u8> {
    let (width, height) = fitted(width.max(1), height.max(1));
    let canvas = Canvas::scene(width, height, number, time);
    let mut jpeg = Vec::with_capacity(64 << 10);
    let mut encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(&canvas.pixels, canvas.width, canvas.height, ColorType::Rgb)
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

struct Canvas {
    width: u16,
    height: u16,
    pixels: Vec<u8>,
}

impl Canvas {
    fn scene(width: u16, height: u16, number: u64, [hour, minute, second]: [u8; 3]) -> Self {
        let mut canvas = Self {
            width,
            height,
            pixels: vec![0; 3 * usize::from(width) * usize::from(height)],
        };
        // 0 at midnight, 100 at noon.
        let daylight = 100 - (i32::from(hour) - 12).abs() * 100 / 12;
        let (w, h) = (i32::from(width), i32::from(height));
        let horizon = h * 2 / 3;
        for y in 0..h {
            let colour = if y < horizon {
                let low = y * 100 / horizon;
                shade([40 + low, 90 + low, 200 + low / 3], daylight)
            } else {
                let low = (y - horizon) * 100 / (h - horizon).max(1);
                shade([60, 150 - low / 2, 70], daylight)
            };
            canvas.fill(0, y, w, 1, colour);
        }
        let radius = h / 12;
        let sun = w * (2 * i32::from(second) + 1) / 120;
        canvas.disc(sun, horizon / 2, radius, [255, 220, 120]);
        // One number a picture, also for hills: two pictures differ even to a glance.
        let peak = w * i32::try_from(number % 7).unwrap_or(0) / 7;
        for up in 0..h / 4 {
            let half = 3 * (h / 4 - up);
            let colour = shade([90, 110, 120], daylight);
            canvas.fill(peak - half, horizon - 1 - up, 2 * half, 1, colour);
        }
        let scale = (w / 160).max(1);
        let text = format!("{hour:02}:{minute:02}:{second:02}");
        canvas.text(4 * scale, h - 9 * scale, scale, &text);
        canvas.text(4 * scale, 4 * scale, scale, &format!("#{number}"));
        canvas
    }

    /// Whatever lies outside is left out.
    fn fill(&mut self, x: i32, y: i32, width: i32, height: i32, colour: Rgb) {
        let (w, h) = (i32::from(self.width), i32::from(self.height));
        let (left, right) = (x.clamp(0, w), (x + width).clamp(0, w));
        let span = colour.repeat(usize::try_from(right - left).unwrap_or(0));
        for row in y.clamp(0, h)..(y + height).clamp(0, h) {
            let from = usize::try_from((row * w + left) * 3).unwrap_or(0);
            self.pixels[from..from + span.len()].copy_from_slice(&span);
        }
    }

    fn disc(&mut self, x: i32, y: i32, radius: i32, colour: Rgb) {
        for dy in -radius..=radius {
            let half = (radius * radius - dy * dy).isqrt();
            self.fill(x - half, y + dy, 2 * half + 1, 1, colour);
        }
    }

    fn text(&mut self, mut x: i32, y: i32, scale: i32, text: &str) {
        for c in text.chars() {
            for (row, bits) in (0..).zip(glyph(c)) {
                for column in 0..3 {
                    if bits & (4 >> column) != 0 {
                        let (x, y) = (x + column * scale, y + row * scale);
                        self.fill(x + 1, y + 1, scale, scale, [0, 0, 0]);
                        self.fill(x, y, scale, scale, [255, 255, 255]);
                    }
                }
            }
            x += 4 * scale;
        }
    }
}

fn shade(colour: [i32; 3], daylight: i32) -> Rgb {
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
