from .leaderboard import write as write
