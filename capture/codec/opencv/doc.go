// Package opencv decodes stills with OpenCV's imdecode: the kinds of JPEG that
// the decoder here does not read, and PNG, BMP and TIFF. It is in builds with the
// tag gocv alone, which need cgo and OpenCV's libraries; without the tag the
// package has no Decode.
//
//	data ──inspect: markers, claimed size, scans──► OpenCV ──┬─ gray  ──► coded luma
//	                                                         └─ color ──► exact luma, chroma
//
// Nothing reaches OpenCV that inspect does not know by its first bytes, so that
// its many other readers meet no hostile data, and nothing whose decoding would
// take more memory than the limits allow. What libjpeg forgives, such as damage
// within a scan, goes unnoticed: the decoders here are asked first.
//
// The gray picture of a JPEG is its coded luma, sample by sample. WebP is not
// read: OpenCV gives its colors only, whose range is expanded, and luma made of
// them would not be what the stream holds. OpenCV's VideoCapture is not used: it
// takes seconds to a first frame, which may be a broken one.
package opencv
