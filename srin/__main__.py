import sys

from srin.cli import main

sys.exit(main())
