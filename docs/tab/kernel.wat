;; The products of SmolLM2's matrices with one vector, for WebAssembly with 128-bit SIMD.
;;
;; A matrix is cut along its rows into groups of 32 weights. A weight is scale * q + minimum (q4: q is 0 to 15) or
;; scale * q (q8: q is -127 to 127), with one scale and one minimum a group. The vector is cut in the same way: element
;; i of group g is vector_scale[g] * x[i], where x is a whole number of 16 bits. So a group costs whole numbers only:
;;
;;   out[r] = sum over g of  scale[r,g] * vector_scale[g] * (q[r,g,:] . x[g,:])  +  minimum[r,g] * vector_sum[g]
;;
;; where vector_sum[g] is the sum of the group's elements. The sum of a q4 group is at most 32 * 15 * 32768 = 15.7
;; million, which a float of 32 bits holds exactly; nothing overflows.
;;
;; The 16 bytes of a q4 group: byte j holds weight j in its low four bits and weight j + 16 in its high four.
(module
  (import "env" "memory" (memory 1))

  ;; Adds the four lanes of a vector.
  (func $sum (param $v v128) (result f32)
    (f32.add
      (f32.add (f32x4.extract_lane 0 (local.get $v)) (f32x4.extract_lane 1 (local.get $v)))
      (f32.add (f32x4.extract_lane 2 (local.get $v)) (f32x4.extract_lane 3 (local.get $v)))))

  ;; All pointers are byte addresses in the memory: of the matrix (quants, scales, minima), of the vector (x,
  ;; vector_scales, vector_sums) and of the result. There is at least one row and one group.
  (func (export "q4")
    (param $quants i32) (param $scales i32) (param $minima i32)
    (param $x i32) (param $vector_scales i32) (param $vector_sums i32)
    (param $out i32) (param $rows i32) (param $groups i32)
    (local $xg i32) (local $s i32) (local $end i32) (local $out_end i32)
    (local $bytes v128) (local $low v128) (local $high v128) (local $total v128) (local $offset f32)
    (local.set $out_end (i32.add (local.get $out) (i32.shl (local.get $rows) (i32.const 2))))
    (loop $row
      (local.set $total (v128.const i32x4 0 0 0 0))
      (local.set $offset (f32.const 0))
      (local.set $xg (local.get $x))
      (local.set $s (i32.const 0))
      (local.set $end (i32.shl (local.get $groups) (i32.const 2)))
      (loop $group
        (local.set $bytes (v128.load (local.get $quants)))
        (local.set $low (v128.and (local.get $bytes) (i8x16.splat (i32.const 15))))
        (local.set $high (i8x16.shr_u (local.get $bytes) (i32.const 4)))
        (local.set $total
          (f32x4.add
            (local.get $total)
            (f32x4.mul
              (f32x4.mul
                (v128.load32_splat (i32.add (local.get $scales) (local.get $s)))
                (v128.load32_splat (i32.add (local.get $vector_scales) (local.get $s))))
              (f32x4.convert_i32x4_s
                (i32x4.add
                  (i32x4.add
                    (i32x4.dot_i16x8_s (i16x8.extend_low_i8x16_u (local.get $low)) (v128.load (local.get $xg)))
                    (i32x4.dot_i16x8_s
                      (i16x8.extend_high_i8x16_u (local.get $low)) (v128.load offset=16 (local.get $xg))))
                  (i32x4.add
                    (i32x4.dot_i16x8_s
                      (i16x8.extend_low_i8x16_u (local.get $high)) (v128.load offset=32 (local.get $xg)))
                    (i32x4.dot_i16x8_s
                      (i16x8.extend_high_i8x16_u (local.get $high)) (v128.load offset=48 (local.get $xg)))))))))
        (local.set $offset
          (f32.add
            (local.get $offset)
            (f32.mul
              (f32.load (i32.add (local.get $minima) (local.get $s)))
              (f32.load (i32.add (local.get $vector_sums) (local.get $s))))))
        (local.set $quants (i32.add (local.get $quants) (i32.const 16)))
        (local.set $xg (i32.add (local.get $xg) (i32.const 64)))
        (br_if $group (i32.lt_u (local.tee $s (i32.add (local.get $s) (i32.const 4))) (local.get $end))))
      (f32.store (local.get $out) (f32.add (local.get $offset) (call $sum (local.get $total))))
      (local.set $scales (i32.add (local.get $scales) (local.get $end)))
      (local.set $minima (i32.add (local.get $minima) (local.get $end)))
      (br_if $row
        (i32.lt_u (local.tee $out (i32.add (local.get $out) (i32.const 4))) (local.get $out_end)))))

  ;; The same with one byte a weight and no minimum.
  (func (export "q8")
    (param $quants i32) (param $scales i32)
    (param $x i32) (param $vector_scales i32)
    (param $out i32) (param $rows i32) (param $groups i32)
    (local $xg i32) (local $s i32) (local $end i32) (local $out_end i32)
    (local $first v128) (local $second v128) (local $total v128)
    (local.set $out_end (i32.add (local.get $out) (i32.shl (local.get $rows) (i32.const 2))))
    (loop $row
      (local.set $total (v128.const i32x4 0 0 0 0))
      (local.set $xg (local.get $x))
      (local.set $s (i32.const 0))
      (local.set $end (i32.shl (local.get $groups) (i32.const 2)))
      (loop $group
        (local.set $first (v128.load (local.get $quants)))
        (local.set $second (v128.load offset=16 (local.get $quants)))
        (local.set $total
          (f32x4.add
            (local.get $total)
            (f32x4.mul
              (f32x4.mul
                (v128.load32_splat (i32.add (local.get $scales) (local.get $s)))
                (v128.load32_splat (i32.add (local.get $vector_scales) (local.get $s))))
              (f32x4.convert_i32x4_s
                (i32x4.add
                  (i32x4.add
                    (i32x4.dot_i16x8_s (i16x8.extend_low_i8x16_s (local.get $first)) (v128.load (local.get $xg)))
                    (i32x4.dot_i16x8_s
                      (i16x8.extend_high_i8x16_s (local.get $first)) (v128.load offset=16 (local.get $xg))))
                  (i32x4.add
                    (i32x4.dot_i16x8_s
                      (i16x8.extend_low_i8x16_s (local.get $second)) (v128.load offset=32 (local.get $xg)))
                    (i32x4.dot_i16x8_s
                      (i16x8.extend_high_i8x16_s (local.get $second)) (v128.load offset=48 (local.get $xg)))))))))
        (local.set $quants (i32.add (local.get $quants) (i32.const 32)))
        (local.set $xg (i32.add (local.get $xg) (i32.const 64)))
        (br_if $group (i32.lt_u (local.tee $s (i32.add (local.get $s) (i32.const 4))) (local.get $end))))
      (f32.store (local.get $out) (call $sum (local.get $total)))
      (local.set $scales (i32.add (local.get $scales) (local.get $end)))
      (br_if $row
        (i32.lt_u (local.tee $out (i32.add (local.get $out) (i32.const 4))) (local.get $out_end))))))
