import sys

from chainredis.cli import main

sys.exit(main())
