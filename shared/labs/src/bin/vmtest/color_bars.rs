//! The test pattern of vivid: eight vertical bars, white, yellow, cyan, green, magenta, red, blue and black, at 75 %.
//!
//! Source: TPG_PAT_75_COLORBAR in the kernel's v4l2-tpg-colors.c

use image::RgbImage;

/// sRGB, 0 to 255, from the left.
const BARS: [[u8; 3]; 8] = [
    [191, 191, 191],
    [191, 191, 0],
    [0, 191, 191],
    [0, 191, 0],
    [191, 0, 191],
    [191, 0, 0],
    [0, 0, 191],
    [0, 0, 0],
];
/// The error that JPEG and YUV may cause, far less than a swapped value range would.
const OFF_BY_MAX: u8 = 12;
/// The height of the text that vivid draws over its smallest picture.
const DOWN_PERCENT: u32 = 95;

/// Checks that this picture shows the pattern, in colour or in grey.
///
/// # Errors
/// The first bar that differs.
pub(crate) fn check(jpeg: &[u8], grey: bool) -> Result<(), String> {
    let image = image::load_from_memory(jpeg).map_err(|error| format!("no picture: {error}"))?;
    let image = image.into_rgb8();
    for (nth, bar) in (0..).zip(BARS) {
        let wanted = if grey { [luma(bar); 3] } else { bar };
        let found = middle_of_bar(&image, nth);
        let off = found.iter().zip(wanted).map(|(a, b)| a.abs_diff(b));
        if off.max() > Some(OFF_BY_MAX) {
            return Err(format!("bar {nth} is {found:?} and should be {wanted:?}"));
        }
    }
    Ok(())
}

fn middle_of_bar(image: &RgbImage, nth: u32) -> [u8; 3] {
    let x = image.width() * (2 * nth + 1) / 16;
    let y = image.height() * DOWN_PERCENT / 100;
    image.get_pixel(x, y).0
}

/// Returns the luma with the weights of BT.709, as vivid computes it for grey pictures.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 2126 * u32::from(red) + 7152 * u32::from(green) + 722 * u32::from(blue);
    u8::try_from(sum / 10_000).unwrap_or(u8::MAX)
}
