package jpeg

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"testing"
)

// TestStandardTables holds the tables of Annex K.3 against those that the
// standard library writes: pictures without tables need every number of them.
func TestStandardTables(t *testing.T) {
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, 16, 16), image.YCbCrSubsampleRatio420), nil); err != nil {
		t.Fatal(err)
	}
	for i, own := range standardTables {
		class, slot := byte(i/2), byte(i%2)
		if !bytes.Contains(b.Bytes(), append([]byte{class<<4 | slot}, own...)) {
			t.Errorf("table %d of class %d is not the standard library's", slot, class)
		}
	}
}
