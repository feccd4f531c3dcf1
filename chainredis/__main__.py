import sys

from chainredis.cli.main import main

sys.exit(main())
