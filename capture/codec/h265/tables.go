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
