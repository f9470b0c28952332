package phash_test

import (
	"encoding/csv"
	"math/bits"
	"os"
	"strconv"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/internal/synthetic"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/capture/phash"
)

// TestImagehash holds the hash against imagehash's: the resize differs, so a
// bit whose coefficient lies at the median may.
func TestImagehash(t *testing.T) {
	f, err := os.Open("testdata/imagehash.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	far, n := 0, 0
	for _, r := range rows[1:] {
		w, _ := strconv.Atoi(r[1])
		h, _ := strconv.Atoi(r[2])
		want, err := strconv.ParseUint(r[3], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		gap, err := strconv.ParseFloat(r[4], 64)
		if err != nil {
			t.Fatal(err)
		}
		if gap < 1 {
			continue // degenerate: the median is not told from its neighbours
		}
		var b pdq.Buffer64
		pdq.Reduce(synthetic.Gray(r[0], w, h), &b)
		n++
		if d := bits.OnesCount64(uint64(phash.Sum((*[4096]float32)(&b))) ^ want); d > 2 {
			far++
			t.Logf("%s %dx%d: %d bits from imagehash", r[0], w, h, d)
		}
	}
	// The plane's sampling points lie up to half a pixel from imagehash's: noise
	// and fine texture then differ. Natural pictures do not.
	if n < 40 || far*10 > n*3 {
		t.Errorf("%d of %d pictures are more than 2 bits from imagehash, want at most three in ten", far, n)
	}
}
