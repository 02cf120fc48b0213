@rem Run it as administrator: setup install [--take-over], setup back, setup remove [--purge].
@"%~dp0node.exe" "%~dp0setup.mjs" %*
