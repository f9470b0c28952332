package h265

// The first context of each syntax element of I slices.
const (
	ctxSAOMerge      = 0
	ctxSAOType       = ctxSAOMerge + 1
	ctxSplitCU       = ctxSAOType + 1
	ctxBypassFlag    = ctxSplitCU + 3
	ctxPartMode      = ctxBypassFlag + 1
	ctxPrevIntra     = ctxPartMode + 1
	ctxChromaMode    = ctxPrevIntra + 1
	ctxSplitTU       = ctxChromaMode + 1
	ctxCbfLuma       = ctxSplitTU + 3
	ctxCbfChroma     = ctxCbfLuma + 2
	ctxQPDelta       = ctxCbfChroma + 4
	ctxTransformSkip = ctxQPDelta + 2
	ctxLastX         = ctxTransformSkip + 2
	ctxLastY         = ctxLastX + 18
	ctxCodedSub      = ctxLastY + 18
	ctxSig           = ctxCodedSub + 4
	ctxGreater1      = ctxSig + 42
	ctxGreater2      = ctxGreater1 + 24
	contextCount     = ctxGreater2 + 6
)

// initValues are initValue of Tables 9-5 to 9-37 for initType 0, in the order above.
var initValues = [contextCount]uint8{
	153,           // sao_merge_left_flag, sao_merge_up_flag
	200,           // sao_type_idx_luma, sao_type_idx_chroma
	139, 141, 157, // split_cu_flag
	154,           // cu_transquant_bypass_flag
	184,           // part_mode
	184,           // prev_intra_luma_pred_flag
	63,            // intra_chroma_pred_mode
	153, 138, 138, // split_transform_flag
	111, 141, // cbf_luma
	94, 138, 182, 154, // cbf_cb, cbf_cr
	154, 154, // cu_qp_delta_abs
	139, 139, // transform_skip_flag
	// last_sig_coeff_x_prefix, last_sig_coeff_y_prefix
	110, 110, 124, 125, 140, 153, 125, 127, 140, 109, 111, 143, 127, 111, 79, 108, 123, 63,
	110, 110, 124, 125, 140, 153, 125, 127, 140, 109, 111, 143, 127, 111, 79, 108, 123, 63,
	91, 171, 134, 141, // coded_sub_block_flag
	// sig_coeff_flag
	111, 111, 125, 110, 110, 94, 124, 108, 124, 107, 125, 141, 179, 153, 125, 107, 125, 141, 179, 153, 125,
	107, 125, 141, 179, 153, 125, 140, 139, 182, 182, 152, 136, 152, 136, 153, 136, 139, 111, 136, 139, 111,
	// coeff_abs_level_greater1_flag
	140, 92, 137, 138, 140, 152, 138, 139, 153, 74, 149, 92, 139, 107, 122, 152, 140, 179, 166, 182, 140, 227, 122, 197,
	138, 153, 136, 167, 152, 152, // coeff_abs_level_greater2_flag
}

// rangeLPS is rangeTabLps, Table 9-46, by pStateIdx and qRangeIdx.
var rangeLPS = [64][4]uint8{
	{128, 176, 208, 240}, {128, 167, 197, 227}, {128, 158, 187, 216}, {123, 150, 178, 205},
	{116, 142, 169, 195}, {111, 135, 160, 185}, {105, 128, 152, 175}, {100, 122, 144, 166},
	{95, 116, 137, 158}, {90, 110, 130, 150}, {85, 104, 123, 142}, {81, 99, 117, 135},
	{77, 94, 111, 128}, {73, 89, 105, 122}, {69, 85, 100, 116}, {66, 80, 95, 110},
	{62, 76, 90, 104}, {59, 72, 86, 99}, {56, 69, 81, 94}, {53, 65, 77, 89},
	{51, 62, 73, 85}, {48, 59, 69, 80}, {46, 56, 66, 76}, {43, 53, 63, 72},
	{41, 50, 59, 69}, {39, 48, 56, 65}, {37, 45, 54, 62}, {35, 43, 51, 59},
	{33, 41, 48, 56}, {32, 39, 46, 53}, {30, 37, 43, 50}, {29, 35, 41, 48},
	{27, 33, 39, 45}, {26, 31, 37, 43}, {24, 30, 35, 41}, {23, 28, 33, 39},
	{22, 27, 32, 37}, {21, 26, 30, 35}, {20, 24, 29, 33}, {19, 23, 27, 31},
	{18, 22, 26, 30}, {17, 21, 25, 28}, {16, 20, 23, 27}, {15, 19, 22, 25},
	{14, 18, 21, 24}, {14, 17, 20, 23}, {13, 16, 19, 22}, {12, 15, 18, 21},
	{12, 14, 17, 20}, {11, 14, 16, 19}, {11, 13, 15, 18}, {10, 12, 15, 17},
	{10, 12, 14, 16}, {9, 11, 13, 15}, {9, 11, 12, 14}, {8, 10, 12, 14},
	{8, 9, 11, 13}, {7, 9, 11, 12}, {7, 9, 10, 12}, {7, 8, 10, 11},
	{6, 8, 9, 11}, {6, 7, 9, 10}, {6, 7, 8, 9}, {2, 2, 2, 2},
}

// nextState is the state after the more probable symbol, and at 255 minus the
// state after the less probable one: transIdxMps and transIdxLps, Table 9-47.
var nextState = byState([64]uint8{
	0, 0, 1, 2, 2, 4, 4, 5, 6, 7, 8, 9, 9, 11, 11, 12,
	13, 13, 15, 15, 16, 16, 18, 18, 19, 19, 21, 21, 22, 22, 23, 24,
	24, 25, 26, 26, 27, 27, 28, 29, 29, 30, 30, 30, 31, 32, 32, 33,
	33, 33, 34, 34, 35, 35, 35, 36, 36, 36, 37, 37, 37, 38, 38, 63,
})

func byState(lps [64]uint8) (out [256]uint8) {
	for s := range uint8(128) {
		state, mps := s>>1, s&1
		out[s] = min(state+1, 62)<<1 | mps
		if state == 63 {
			out[s] = s
		}
		if state == 0 {
			mps = 1 - mps
		}
		out[255-s] = lps[state]<<1 | mps
	}
	return out
}

// scans are the orders of 6.5.3 to 6.5.5 in blocks of 1, 2, 4 and 8 a side, by
// scanIdx: y<<4 | x.
var scans = func() (t [4][3][]uint8) {
	for log2 := range 4 {
		n := 1 << log2
		for d := range 2*n - 1 { // up the diagonals
			for x := range n {
				if y := d - x; y >= 0 && y < n {
					t[log2][scanDiagonal] = append(t[log2][scanDiagonal], uint8(y<<4|x))
				}
			}
		}
		for a := range n {
			for b := range n {
				t[log2][scanHorizontal] = append(t[log2][scanHorizontal], uint8(a<<4|b))
				t[log2][scanVertical] = append(t[log2][scanVertical], uint8(b<<4|a))
			}
		}
	}
	return t
}()

const (
	scanDiagonal   = 0
	scanHorizontal = 1
	scanVertical   = 2
)

// sigSmall is ctxIdxMap of 9.3.4.2.5, for blocks of 4x4.
var sigSmall = [16]uint8{0, 1, 4, 5, 2, 3, 4, 5, 6, 6, 8, 8, 7, 7, 8, 8}
