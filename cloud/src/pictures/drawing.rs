//! Draws the thumbnail of a picture, and finds its average colour and whether its bytes are damaged. Pure.

use std::io::Cursor;

use fast_image_resize::images::Image;
use fast_image_resize::{PixelType, Resizer};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use keepsake_protocol::capture::ContentType;

use crate::pictures::orientation;

/// The longer side of a thumbnail, pixels: twice the width of a tile, for dense screens.
const SIDE: u32 = 480;
/// JPEG quality of thumbnails.
const QUALITY: u8 = 78;
/// A picture of at most this many bytes and pixels a side serves as its own thumbnail, which would be as large.
const OWN_BYTES_MAX: usize = 40 * 1024;
const OWN_SIDE_MAX: u32 = 2 * SIDE;
/// Larger pictures than this are not decoded, pixels a side. The largest camera of a Pi has 9152.
const SIDE_MAX: u32 = 16_384;
/// The pixels of one picture may take this much memory, bytes: 64 million of that camera are 191 MB.
pub(crate) const DECODE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The result of decoding.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Absent when the bytes do not decode, or are more than is drawn here.
    pub thumbnail: Option<ThumbnailImage>,
    /// The bytes are no picture, or end too early. One that is only too large, or of a kind unknown here, is not.
    pub damaged: bool,
}

#[derive(Debug, Clone)]
pub struct ThumbnailImage {
    /// At most 480 pixels a side; absent when the picture itself serves as its thumbnail.
    pub jpeg: Option<Vec<u8>>,
    /// The average, 0xRRGGBB.
    pub color: u32,
    /// Pixels of the original, as it is to be held.
    pub width: u32,
    pub height: u32,
}

/// Makes the thumbnail of a picture, and finds whether its bytes are damaged.
pub(crate) fn decode(bytes: &[u8], content_type: ContentType) -> Decoded {
    match make_thumbnail(bytes, content_type) {
        Ok(thumbnail) => Decoded {
            thumbnail: Some(thumbnail),
            damaged: content_type == ContentType::Jpeg && !has_end_marker(bytes),
        },
        Err(error) => {
            tracing::info!("no thumbnail of a picture: {error:#}");
            Decoded { thumbnail: None, damaged: is_damage(&error) }
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
    let longer = width.max(height).max(1);
    let own = bytes.len() <= OWN_BYTES_MAX && longer <= OWN_SIDE_MAX;
    let scaled = match content_type {
        ContentType::Jpeg => decode_scaled(bytes, if own { 1 } else { SIDE }),
        ContentType::Png => None,
    };
    let pixels = match scaled {
        Some(scaled) => scaled,
        // The judge of what is damaged, whatever the faster decoder found.
        None => DynamicImage::from_decoder(decoder)?.into_rgb8(),
    };
    let (width_held, height_held) = orientation::oriented_size(orientation, (width, height));
    let thumbnail = |jpeg, pixels| ThumbnailImage {
        jpeg,
        color: average(pixels),
        width: width_held,
        height: height_held,
    };
    if own {
        return Ok(thumbnail(None, &pixels));
    }
    let fitted = |side: u32| match longer {
        0..=SIDE => side.max(1),
        _ => (u64::from(side) * u64::from(SIDE) / u64::from(longer)).max(1).try_into().unwrap_or(SIDE),
    };
    // The small one is turned: a large one would take its memory twice.
    let mut small = DynamicImage::ImageRgb8(resize(pixels, fitted(width), fitted(height))?);
    small.apply_orientation(orientation);
    let pixels = small.into_rgb8();
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, QUALITY).encode(
        &pixels,
        u16::try_from(pixels.width())?,
        u16::try_from(pixels.height())?,
        jpeg_encoder::ColorType::Rgb,
    )?;
    let jpeg = (jpeg.len() < bytes.len()).then_some(jpeg);
    Ok(thumbnail(jpeg, &pixels))
}

/// Decodes a JPEG to a half, a quarter or an eighth of its size, the smallest whose longer side has at least `side`
/// pixels. Each block of 8 x 8 is computed at that size only, which halves the time of a large picture.
fn decode_scaled(jpeg: &[u8], side: u32) -> Option<RgbImage> {
    let side = u16::try_from(side).ok()?;
    let mut decoder = jpeg_decoder::Decoder::new(jpeg);
    decoder.set_max_decoding_buffer_size(usize::try_from(DECODE_BYTES_MAX).unwrap_or(usize::MAX));
    let (width, height) = decoder.scale(side, side).ok()?;
    let (width, height) = (u32::from(width), u32::from(height));
    let pixels = decoder.decode().ok()?;
    match decoder.info()?.pixel_format {
        jpeg_decoder::PixelFormat::RGB24 => RgbImage::from_raw(width, height, pixels),
        jpeg_decoder::PixelFormat::L8 => {
            let gray = GrayImage::from_raw(width, height, pixels)?;
            Some(DynamicImage::ImageLuma8(gray).into_rgb8())
        }
        jpeg_decoder::PixelFormat::L16 | jpeg_decoder::PixelFormat::CMYK32 => None,
    }
}

fn resize(pixels: RgbImage, width: u32, height: u32) -> anyhow::Result<RgbImage> {
    if pixels.dimensions() == (width, height) {
        return Ok(pixels);
    }
    let source = Image::from_vec_u8(pixels.width(), pixels.height(), pixels.into_raw(), PixelType::U8x3)?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    Resizer::new().resize(&source, &mut target, None)?;
    RgbImage::from_raw(width, height, target.into_vec()).ok_or_else(|| anyhow::anyhow!("a thumbnail of another size"))
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
        let small = decoded.thumbnail.unwrap();
        assert_eq!((small.width, small.height), (1000, 500));
        let again = image::load_from_memory(&small.jpeg.unwrap()).unwrap();
        assert_eq!((again.width(), again.height()), (480, 240));
        for (shift, expected) in [(16, 200), (8, 100), (0, 50)] {
            let found = i64::from(small.color >> shift & 0xff);
            assert!((found - expected).abs() < 6, "{:06x}", small.color);
        }
    }

    #[test]
    fn a_small_picture_serves_as_its_own_thumbnail() {
        let encode = |width: u16, height: u16, quality| {
            let mut pixels = [200_u8, 100, 50].repeat(usize::from(width) * usize::from(height));
            for (noise, pixel) in (0_u32..).zip(&mut pixels) {
                *pixel ^= noise.wrapping_mul(2_654_435_761).to_be_bytes()[0] & 7;
            }
            let mut jpeg = Vec::new();
            jpeg_encoder::Encoder::new(&mut jpeg, quality)
                .encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb)
                .unwrap();
            jpeg
        };
        let small = encode(640, 480, 50);
        let decoded = decode(&small, ContentType::Jpeg);
        let thumbnail = decoded.thumbnail.unwrap();
        assert!(!decoded.damaged && thumbnail.jpeg.is_none());
        assert_eq!((thumbnail.width, thumbnail.height), (640, 480));
        assert!((thumbnail.color >> 16).abs_diff(200) < 6, "{:06x}", thumbnail.color);
        assert!(decode(&small[..small.len() / 2], ContentType::Jpeg).damaged);
        // No thumbnail is larger than its picture, whatever the picture's size and quality.
        for jpeg in [encode(1200, 900, 5), encode(480, 480, 1), encode(400, 300, 99)] {
            let thumbnail = decode(&jpeg, ContentType::Jpeg).thumbnail.unwrap();
            let bytes = thumbnail.jpeg.map_or(0, |jpeg| jpeg.len());
            assert!(bytes < jpeg.len(), "{bytes} {}", jpeg.len());
        }
    }

    #[test]
    fn the_scaled_decoder_draws_what_the_whole_one_does() {
        let photo = keepsake_testkit::photos::named("astronaut");
        let photo = image::load_from_memory(&photo)
            .unwrap()
            .resize_exact(2000, 1500, image::imageops::CatmullRom);
        let mut jpeg = Vec::new();
        photo.write_to(&mut Cursor::new(&mut jpeg), ImageFormat::Jpeg).unwrap();
        let small = decode(&jpeg, ContentType::Jpeg).thumbnail.unwrap().jpeg.unwrap();
        let small = image::load_from_memory(&small).unwrap().into_rgb8();
        let expected = resize(image::load_from_memory(&jpeg).unwrap().into_rgb8(), 480, 360).unwrap();
        let error: u64 = small.iter().zip(expected.iter()).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
        let mean = error / small.len() as u64;
        assert!(mean < 30, "mean square error {mean}");
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
        let small = decode(&turned, ContentType::Jpeg).thumbnail.unwrap();
        assert_eq!((small.width, small.height), (500, 1000));
        let shown = image::load_from_memory(&small.jpeg.unwrap()).unwrap().into_luma8();
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
            assert!(decoded.thumbnail.is_none() && !decoded.damaged);
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
        let small = decoded.thumbnail.unwrap();
        assert_eq!((small.width, small.height), (9152, 6944));
    }
}
