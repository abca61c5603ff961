//! Small versions of pictures, made after the commit and one at a time: whatever the bytes are, they are stored, and
//! decoding them may fail, bomb or crash without touching that. The attempt is noted first, so a picture that kills the
//! program is not tried for ever.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use fast_image_resize::images::Image;
use fast_image_resize::{PixelType, Resizer};
use image::{ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use keepsake_protocol::capture::ContentType;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::ops::event_bus::{ChangeEvent, EventBus};
use crate::pictures::orientation;
use crate::store::{Picture, Store, StoreError};

/// The longer side of a small version, pixels: twice the width of a tile, for dense screens.
const SIDE: u32 = 480;
/// JPEG quality of small versions.
const QUALITY: u8 = 78;
/// Larger pictures than this are not decoded, pixels a side. The largest camera of a Pi has 9152.
const SIDE_MAX: u32 = 16_384;
/// The pixels of one picture may take this much memory, bytes: 64 million of that camera are 191 MB.
const DECODE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Noted attempts after which a picture is given up on.
const ATTEMPTS_MAX: u32 = 3;

/// Decodes one picture at a time, for all callers, since each may take [`DECODE_BYTES_MAX`] and what the decoder itself
/// needs, up to twice as much again for a progressive JPEG.
#[derive(Debug, Clone)]
pub struct Decoder(Arc<Semaphore>);

impl Default for Decoder {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// The result of decoding.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// JPEG, at most 480 pixels a side; absent when the bytes do not decode, or are more than is drawn here.
    pub small: Option<ThumbnailImage>,
    /// The bytes are no picture, or end too early. One that is only too large, or of a kind unknown here, is not.
    pub damaged: bool,
}

#[derive(Debug, Clone)]
pub struct ThumbnailImage {
    pub jpeg: Vec<u8>,
    /// The average, 0xRRGGBB.
    pub color: u32,
    /// Pixels of the original, as it is to be held.
    pub width: u32,
    pub height: u32,
}

impl Decoder {
    /// Makes the small version, off the async threads.
    pub async fn decode(&self, bytes: Vec<u8>, content_type: ContentType) -> Decoded {
        let _turn = self.0.acquire().await;
        let decoding = tokio::task::spawn_blocking(move || decode(&bytes, content_type));
        decoding.await.unwrap_or_else(|error| {
            tracing::warn!("decoding a picture failed badly: {error}");
            // A bug of ours or of a library's proves nothing about the bytes.
            Decoded { small: None, damaged: false }
        })
    }
}

/// Works through pictures without a small version until it is stopped.
pub async fn run(store: Store, decoder: Decoder, live: EventBus, wake: Arc<Notify>, stop: CancellationToken) {
    loop {
        let worked = tokio::select! {
            () = stop.cancelled() => return,
            worked = make_one(&store, &decoder, &live) => worked,
        };
        let idle = match worked {
            Ok(true) => continue,
            Ok(false) => Duration::from_secs(60),
            Err(error) => {
                tracing::warn!("thumbnail: {:#}", anyhow::Error::from(error));
                Duration::from_secs(5)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notified() => {}
            () = tokio::time::sleep(idle) => {}
        }
    }
}

/// Makes one small version. Returns whether there was one to make.
async fn make_one(store: &Store, decoder: &Decoder, live: &EventBus) -> Result<bool, StoreError> {
    let Some(Picture { arrival, content_type, .. }) = store.begin_thumbnail(ATTEMPTS_MAX).await? else {
        return Ok(false);
    };
    let bytes = store.image(arrival).await?.unwrap_or_default();
    let decoded = decoder.decode(bytes, content_type).await;
    let small = decoded.small.as_ref().map(|small| (small.jpeg.as_slice(), small.color));
    store.finish_thumbnail(arrival, small, decoded.damaged).await?;
    live.publish(ChangeEvent::Picture(arrival));
    Ok(true)
}

fn decode(bytes: &[u8], content_type: ContentType) -> Decoded {
    match make_thumbnail(bytes, content_type) {
        Ok(small) => Decoded {
            small: Some(small),
            damaged: content_type == ContentType::Jpeg && !has_end_marker(bytes),
        },
        Err(error) => {
            tracing::info!("no small version of a picture: {error:#}");
            Decoded { small: None, damaged: is_damage(&error) }
        }
    }
}

/// Returns true if the decoder found the bytes broken, instead of refusing what it might have read.
fn is_damage(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ImageError>() {
        // Reading is from memory, so all that can go wrong with it is that the bytes end.
        Some(ImageError::Decoding(_) | ImageError::IoError(_)) => true,
        Some(
            ImageError::Limits(_) | ImageError::Unsupported(_) | ImageError::Parameter(_) | ImageError::Encoding(_),
        )
        | None => false,
    }
}

/// Returns true if a JPEG has its end: the decoder takes one cut in half for whole. The last scan must be followed by
/// the end marker, wherever that is, as cameras and phones append things of their own.
fn has_end_marker(jpeg: &[u8]) -> bool {
    let last = |marker: u8| jpeg.windows(2).rposition(|found| found == [0xff, marker]);
    last(0xd9) > last(0xda)
}

fn make_thumbnail(bytes: &[u8], content_type: ContentType) -> anyhow::Result<ThumbnailImage> {
    let format = match content_type {
        ContentType::Jpeg => ImageFormat::Jpeg,
        ContentType::Png => ImageFormat::Png,
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    // A camera that is mounted on its side, or a phone, says how to hold the picture, and every browser keeps to that.
    let orientation = orientation::of(&mut decoder);
    // The decoder counts its own buffers against the limit; the pixels it gives us, and the three bytes a pixel made
    // of those, are on top.
    let (width, height) = decoder.dimensions();
    let pixels = decoder.total_bytes().max(u64::from(width) * u64::from(height) * 3);
    anyhow::ensure!(pixels <= DECODE_BYTES_MAX, "{pixels} bytes of pixels");
    let full = image::DynamicImage::from_decoder(decoder)?.into_rgb8();
    let longer = width.max(height).max(1);
    let scaled = |side: u32| match longer {
        0..=SIDE => side.max(1),
        _ => (u64::from(side) * u64::from(SIDE) / u64::from(longer)).max(1).try_into().unwrap_or(SIDE),
    };
    let (small_width, small_height) = (scaled(width), scaled(height));
    let source = Image::from_vec_u8(width, height, full.into_raw(), PixelType::U8x3)?;
    let mut target = Image::new(small_width, small_height, PixelType::U8x3);
    Resizer::new().resize(&source, &mut target, None)?;
    let small = RgbImage::from_raw(small_width, small_height, target.into_vec())
        .ok_or_else(|| anyhow::anyhow!("a small version of another size"))?;
    // The small one is turned: a large one would take its memory twice.
    let mut small = image::DynamicImage::ImageRgb8(small);
    small.apply_orientation(orientation);
    let pixels = small.into_rgb8();
    let (width, height) = orientation::oriented_size(orientation, (width, height));
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, QUALITY).encode(
        &pixels,
        u16::try_from(pixels.width())?,
        u16::try_from(pixels.height())?,
        jpeg_encoder::ColorType::Rgb,
    )?;
    Ok(ThumbnailImage { jpeg, color: average(&pixels), width, height })
}

fn average(rgb: &[u8]) -> u32 {
    let count = (rgb.len() as u64 / 3).max(1);
    let mut sums = [0_u64; 3];
    for pixel in rgb.chunks_exact(3) {
        for (sum, channel) in sums.iter_mut().zip(pixel) {
            *sum += u64::from(*channel);
        }
    }
    sums.iter()
        .fold(0, |color, sum| color << 8 | u32::try_from(sum / count).unwrap_or(0xff).min(0xff))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Vec<u8> {
        let mut jpeg = Vec::new();
        let pixels = [200_u8, 100, 50].repeat(1000 * 500);
        jpeg_encoder::Encoder::new(&mut jpeg, 90)
            .encode(&pixels, 1000, 500, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        jpeg
    }

    #[test]
    fn a_picture_becomes_a_small_one_with_its_colour() {
        let decoded = decode(&picture(), ContentType::Jpeg);
        assert!(!decoded.damaged);
        let small = decoded.small.unwrap();
        assert_eq!((small.width, small.height), (1000, 500));
        let again = image::load_from_memory(&small.jpeg).unwrap();
        assert_eq!((again.width(), again.height()), (480, 240));
        for (shift, expected) in [(16, 200), (8, 100), (0, 50)] {
            let found = i64::from(small.color >> shift & 0xff);
            assert!((found - expected).abs() < 6, "{:06x}", small.color);
        }
    }

    #[test]
    fn a_picture_that_is_to_be_held_on_its_side_is_shown_so() {
        // Left half dark, and an Exif that says: turn a quarter to the right.
        let mut pixels = [200_u8, 100, 50].repeat(1000 * 500);
        for line in pixels.chunks_exact_mut(3000) {
            line[..1500].fill(0);
        }
        let mut coded = Vec::new();
        jpeg_encoder::Encoder::new(&mut coded, 90)
            .encode(&pixels, 1000, 500, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let turned = [&coded[..2], exif, &coded[2..]].concat();
        let small = decode(&turned, ContentType::Jpeg).small.unwrap();
        assert_eq!((small.width, small.height), (500, 1000));
        let shown = image::load_from_memory(&small.jpeg).unwrap().into_luma8();
        assert_eq!(shown.dimensions(), (240, 480));
        assert!(shown.get_pixel(120, 60).0[0] < 20 && shown.get_pixel(120, 400).0[0] > 80);
        let dimensions = |bytes| orientation::dimensions(bytes, ContentType::Jpeg);
        assert_eq!(dimensions(&turned), Some((500, 1000)));
        assert_eq!(dimensions(&coded), Some((1000, 500)));
        assert_eq!(dimensions(b"no picture"), None);
    }

    #[test]
    fn a_picture_cut_in_half_is_damaged() {
        let whole = picture();
        assert!(decode(&whole[..whole.len() / 2], ContentType::Jpeg).damaged);
        let appended = [whole.as_slice(), b"what a phone appends"].concat();
        assert!(!decode(&appended, ContentType::Jpeg).damaged);
        assert!(decode(b"\xff\xd8\xff no picture at all", ContentType::Jpeg).damaged);
        assert!(decode(&[], ContentType::Png).damaged);
    }

    /// A PNG that begins truly and claims this much.
    fn png(width: u32, height: u32, bits: u8, color: u8) -> Vec<u8> {
        let mut png = Vec::new();
        image::GrayImage::new(64, 64)
            .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
            .unwrap();
        let header = png.windows(4).position(|name| name == b"IHDR").unwrap();
        png[header + 4..header + 8].copy_from_slice(&width.to_be_bytes());
        png[header + 8..header + 12].copy_from_slice(&height.to_be_bytes());
        png[header + 12] = bits;
        png[header + 13] = color;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&png[header..header + 17]);
        png[header + 17..header + 21].copy_from_slice(&crc.finalize().to_be_bytes());
        png
    }

    #[test]
    fn a_picture_too_large_to_draw_is_not_called_damaged() {
        const RGBA: u8 = 6;
        let mut jpeg = picture();
        let frame = jpeg.windows(2).position(|mark| mark == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
        for (bytes, content_type) in [
            (jpeg, ContentType::Jpeg),
            (png(60_000, 60_000, 16, RGBA), ContentType::Png),
            (png(16_385, 1, 8, RGBA), ContentType::Png),
            // Within the sides, and half a GiB of pixels.
            (png(8192, 8192, 16, RGBA), ContentType::Png),
            (png(16_384, 16_384, 8, 0), ContentType::Png),
        ] {
            let decoded = decode(&bytes, content_type);
            assert!(decoded.small.is_none() && !decoded.damaged);
        }
        assert!(decode(&png(64, 65, 8, 0), ContentType::Png).damaged);
    }

    #[test]
    fn the_largest_camera_of_a_pi_is_drawn() {
        let (width, height) = (9152, 6944);
        let mut jpeg = Vec::new();
        let pixels = vec![128; usize::from(width) * usize::from(height) * 3];
        jpeg_encoder::Encoder::new(&mut jpeg, 50)
            .encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        drop(pixels);
        let decoded = decode(&jpeg, ContentType::Jpeg);
        assert!(!decoded.damaged);
        let small = decoded.small.unwrap();
        assert_eq!((small.width, small.height), (9152, 6944));
    }
}
