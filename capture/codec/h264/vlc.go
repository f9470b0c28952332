package h264

import "math/bits"

// vlcTables turn the next bits of a CAVLC stream into symbols. An entry is 0
// where no code is.
type vlcTables struct {
	// coeff_token by nC: 0 and 1, 2 and 3, 4 to 7, chroma DC. An index is the
	// number of leading zeros and the three bits behind the first one; an
	// entry is length<<8 | TotalCoeff<<2 | TrailingOnes.
	tokens [4][16 * 8]uint16
	// total_zeros by tzVlcIndex-1 and the next nine bits; chroma DC by the next
	// three. An entry is length<<4 | total_zeros.
	zeros       [15][512]uint8
	zerosChroma [3][8]uint8
	// run_before by zerosLeft-1 up to 6 and the next three bits, likewise.
	runs [6][8]uint8
	// The zigzag scans of an 8x8 block's four interleaved parts, 7.3.5.3.2.
	scan8 [4][16]uint8
}

// code is a code word by its length and its value.
type code struct{ n, v uint8 }

// Table 9-5, by TotalCoeff and TrailingOnes.
var tokenCodes = [4][17][4]code{
	{
		{{1, 1}},
		{{6, 5}, {2, 1}},
		{{8, 7}, {6, 4}, {3, 1}},
		{{9, 7}, {8, 6}, {7, 5}, {5, 3}},
		{{10, 7}, {9, 6}, {8, 5}, {6, 3}},
		{{11, 7}, {10, 6}, {9, 5}, {7, 4}},
		{{13, 15}, {11, 6}, {10, 5}, {8, 4}},
		{{13, 11}, {13, 14}, {11, 5}, {9, 4}},
		{{13, 8}, {13, 10}, {13, 13}, {10, 4}},
		{{14, 15}, {14, 14}, {13, 9}, {11, 4}},
		{{14, 11}, {14, 10}, {14, 13}, {13, 12}},
		{{15, 15}, {15, 14}, {14, 9}, {14, 12}},
		{{15, 11}, {15, 10}, {15, 13}, {14, 8}},
		{{16, 15}, {15, 1}, {15, 9}, {15, 12}},
		{{16, 11}, {16, 14}, {16, 13}, {15, 8}},
		{{16, 7}, {16, 10}, {16, 9}, {16, 12}},
		{{16, 4}, {16, 6}, {16, 5}, {16, 8}},
	}, {
		{{2, 3}},
		{{6, 11}, {2, 2}},
		{{6, 7}, {5, 7}, {3, 3}},
		{{7, 7}, {6, 10}, {6, 9}, {4, 5}},
		{{8, 7}, {6, 6}, {6, 5}, {4, 4}},
		{{8, 4}, {7, 6}, {7, 5}, {5, 6}},
		{{9, 7}, {8, 6}, {8, 5}, {6, 8}},
		{{11, 15}, {9, 6}, {9, 5}, {6, 4}},
		{{11, 11}, {11, 14}, {11, 13}, {7, 4}},
		{{12, 15}, {11, 10}, {11, 9}, {9, 4}},
		{{12, 11}, {12, 14}, {12, 13}, {11, 12}},
		{{12, 8}, {12, 10}, {12, 9}, {11, 8}},
		{{13, 15}, {13, 14}, {13, 13}, {12, 12}},
		{{13, 11}, {13, 10}, {13, 9}, {13, 12}},
		{{13, 7}, {14, 11}, {13, 6}, {13, 8}},
		{{14, 9}, {14, 8}, {14, 10}, {13, 1}},
		{{14, 7}, {14, 6}, {14, 5}, {14, 4}},
	}, {
		{{4, 15}},
		{{6, 15}, {4, 14}},
		{{6, 11}, {5, 15}, {4, 13}},
		{{6, 8}, {5, 12}, {5, 14}, {4, 12}},
		{{7, 15}, {5, 10}, {5, 11}, {4, 11}},
		{{7, 11}, {5, 8}, {5, 9}, {4, 10}},
		{{7, 9}, {6, 14}, {6, 13}, {4, 9}},
		{{7, 8}, {6, 10}, {6, 9}, {4, 8}},
		{{8, 15}, {7, 14}, {7, 13}, {5, 13}},
		{{8, 11}, {8, 14}, {7, 10}, {6, 12}},
		{{9, 15}, {8, 10}, {8, 13}, {7, 12}},
		{{9, 11}, {9, 14}, {8, 9}, {8, 12}},
		{{9, 8}, {9, 10}, {9, 13}, {8, 8}},
		{{10, 13}, {9, 7}, {9, 9}, {9, 12}},
		{{10, 9}, {10, 12}, {10, 11}, {10, 10}},
		{{10, 5}, {10, 8}, {10, 7}, {10, 6}},
		{{10, 1}, {10, 4}, {10, 3}, {10, 2}},
	}, {
		{{2, 1}},
		{{6, 7}, {1, 1}},
		{{6, 4}, {6, 6}, {3, 1}},
		{{6, 3}, {7, 3}, {7, 2}, {6, 5}},
		{{6, 2}, {8, 3}, {8, 2}, {7, 0}},
	},
}

// Tables 9-7 and 9-8, by tzVlcIndex and total_zeros.
var zerosCodes = [15][]code{
	{{1, 1}, {3, 3}, {3, 2}, {4, 3}, {4, 2}, {5, 3}, {5, 2}, {6, 3}, {6, 2}, {7, 3}, {7, 2}, {8, 3}, {8, 2}, {9, 3}, {9, 2}, {9, 1}},
	{{3, 7}, {3, 6}, {3, 5}, {3, 4}, {3, 3}, {4, 5}, {4, 4}, {4, 3}, {4, 2}, {5, 3}, {5, 2}, {6, 3}, {6, 2}, {6, 1}, {6, 0}},
	{{4, 5}, {3, 7}, {3, 6}, {3, 5}, {4, 4}, {4, 3}, {3, 4}, {3, 3}, {4, 2}, {5, 3}, {5, 2}, {6, 1}, {5, 1}, {6, 0}},
	{{5, 3}, {3, 7}, {4, 5}, {4, 4}, {3, 6}, {3, 5}, {3, 4}, {4, 3}, {3, 3}, {4, 2}, {5, 2}, {5, 1}, {5, 0}},
	{{4, 5}, {4, 4}, {4, 3}, {3, 7}, {3, 6}, {3, 5}, {3, 4}, {3, 3}, {4, 2}, {5, 1}, {4, 1}, {5, 0}},
	{{6, 1}, {5, 1}, {3, 7}, {3, 6}, {3, 5}, {3, 4}, {3, 3}, {3, 2}, {4, 1}, {3, 1}, {6, 0}},
	{{6, 1}, {5, 1}, {3, 5}, {3, 4}, {3, 3}, {2, 3}, {3, 2}, {4, 1}, {3, 1}, {6, 0}},
	{{6, 1}, {4, 1}, {5, 1}, {3, 3}, {2, 3}, {2, 2}, {3, 2}, {3, 1}, {6, 0}},
	{{6, 1}, {6, 0}, {4, 1}, {2, 3}, {2, 2}, {3, 1}, {2, 1}, {5, 1}},
	{{5, 1}, {5, 0}, {3, 1}, {2, 3}, {2, 2}, {2, 1}, {4, 1}},
	{{4, 0}, {4, 1}, {3, 1}, {3, 2}, {1, 1}, {3, 3}},
	{{4, 0}, {4, 1}, {2, 1}, {1, 1}, {3, 1}},
	{{3, 0}, {3, 1}, {1, 1}, {2, 1}},
	{{2, 0}, {2, 1}, {1, 1}},
	{{1, 0}, {1, 1}},
}

// Table 9-9 (a).
var zerosChromaCodes = [3][]code{
	{{1, 1}, {2, 1}, {3, 1}, {3, 0}},
	{{1, 1}, {2, 1}, {2, 0}},
	{{1, 1}, {1, 0}},
}

// Table 9-10 for zerosLeft up to 6; beyond, codes are counted.
var runCodes = [6][]code{
	{{1, 1}, {1, 0}},
	{{1, 1}, {2, 1}, {2, 0}},
	{{2, 3}, {2, 2}, {2, 1}, {2, 0}},
	{{2, 3}, {2, 2}, {2, 1}, {3, 1}, {3, 0}},
	{{2, 3}, {2, 2}, {3, 3}, {3, 2}, {3, 1}, {3, 0}},
	{{2, 3}, {3, 0}, {3, 1}, {3, 3}, {3, 2}, {3, 5}, {3, 4}},
}

func newVLCTables() *vlcTables {
	t := new(vlcTables)
	for i := range tokenCodes {
		for total, row := range tokenCodes[i] {
			for ones, c := range row {
				if c.n > 0 {
					t.token(&t.tokens[i], c, uint16(c.n)<<8|uint16(total)<<2|uint16(ones))
				}
			}
		}
	}
	for i, codes := range zerosCodes {
		fill(t.zeros[i][:], 9, codes)
	}
	for i, codes := range zerosChromaCodes {
		fill(t.zerosChroma[i][:], 3, codes)
	}
	for i, codes := range runCodes {
		fill(t.runs[i][:], 3, codes)
	}
	for i, p := range zigzag8 {
		t.scan8[i&3][i>>2] = p
	}
	return t
}

// token enters a code word: zeros, a one, and up to three bits. Chroma DC has a
// word without a one.
func (t *vlcTables) token(table *[16 * 8]uint16, c code, entry uint16) {
	ones := bits.Len8(c.v)
	zeros := int(c.n) - ones
	if ones == 0 {
		for i := 8 * zeros; i < len(table); i++ { // whatever number of zeros follows
			table[i] = entry
		}
		return
	}
	free := 4 - ones // bits of the index that belong to what follows
	first := int(c.v) << free & 7
	for i := range 1 << free {
		table[8*zeros+first+i] = entry
	}
}

// fill enters code words whose symbols are their places in codes.
func fill(table []uint8, width int, codes []code) {
	for symbol, c := range codes {
		free := width - int(c.n)
		for i := range 1 << free {
			table[int(c.v)<<free+i] = c.n<<4 | uint8(symbol)
		}
	}
}
