from modsnr.frames import Source as Source
