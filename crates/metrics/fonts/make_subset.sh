#!/usr/bin/env bash
# Makes DejaVuSans-subset.ttf from DejaVuSans.ttf (argument 1): needs fonttools (pip).
set -euo pipefail
pyftsubset "$1" --output-file="$(dirname "$0")/DejaVuSans-subset.ttf" \
  --unicodes="U+0020-007E,U+00A0-017F,U+0370-03FF,U+0400-045F,U+2010-2015,U+2018-201F,U+2022,U+2026,U+2030,U+2032,U+2033,U+20AC,U+2190-2193,U+2212,U+221E,U+2248,U+2260,U+2264,U+2265" \
  --no-hinting --desubroutinize --layout-features='' \
  --drop-tables+=GPOS,GSUB,GDEF,kern,FFTM --name-IDs='0,1,2,3,4,5,6,13'
