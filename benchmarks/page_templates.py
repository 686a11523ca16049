"""Pages as well-known systems write them, made by hand with made-up content, and what is on them.

The manuals of the labels are plain HTML; these have what the web has: lazy loading, srcset, picture, noscript twins,
backgrounds, captions in a dozen dresses, menus, cookie bars, related posts, trackers. Each template says which images belong
to the text (by file name), which do not, and which passages are text or not.
"""

from dataclasses import dataclass, field

BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
LONG = "The old harbour lies behind the market, and on most mornings the boats come in before the town is awake. "


@dataclass
class Template:
    """A page and its labels, in the form of the label files."""

    html: str
    content: list[str]
    boilerplate: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    other_text: list[str] = field(default_factory=list)


def prose(n: int) -> str:
    return f"<p>Paragraph {n}. {LONG * 2}</p>"


MENU = '<nav class="main-menu"><ul><li><a href="/">Front page</a></li><li><a href="/shop">Our shop</a></li></ul></nav>'
FOOTER = '<footer class="site-footer"><img src="/img/footer-seal.png" alt="seal"><p>All rights are reserved here</p></footer>'
FRAME = {"boilerplate": ["footer-seal.png"], "other_text": ["Our shop", "All rights are reserved here"]}


def framed(
    body: str, content: list[str], text: list[str], boilerplate: tuple[str, ...] = (), other: tuple[str, ...] = ()
) -> Template:
    """A body between a menu and a footer."""
    html = f"<!DOCTYPE html><html lang=en><head><title>T</title></head><body>{MENU}{body}{FOOTER}</body></html>"
    return Template(html, content, [*FRAME["boilerplate"], *boilerplate], text, [*FRAME["other_text"], *other])


TEMPLATES = {
    "wordpress, lazy with noscript": framed(
        f"""
<div id="primary"><main><article class="post"><header class="entry-header"><h1>The harbour</h1></header><div class="entry-content">{prose(1)}
<figure class="wp-block-image size-large"><img src="{BLANK}" data-lazy-src="/wp-content/uploads/boats-1024x768.jpg"
 data-lazy-srcset="/wp-content/uploads/boats-1024x768.jpg 1024w, /wp-content/uploads/boats-300x225.jpg 300w" alt="Boats"><noscript><img
 src="/wp-content/uploads/boats-1024x768.jpg" alt="Boats"></noscript><figcaption>Boats at dawn</figcaption></figure>{prose(2)}
<figure class="wp-block-gallery"><ul><li><figure><img src="{BLANK}" data-src="/wp-content/uploads/nets.jpg" class="lazyload"></figure></li>
<li><figure><img src="{BLANK}" data-src="/wp-content/uploads/crates.jpg" class="lazyload"></figure></li></ul></figure></div></article></main>
<div id="secondary" class="widget-area sidebar"><img src="/img/author-photo.jpg"><p>Recent posts of this site</p></div></div>""",
        ["boats-1024x768.jpg", "nets.jpg", "crates.jpg"],
        ["Paragraph 1.", "Paragraph 2.", "Boats at dawn"],
        ("author-photo.jpg",),
        ("Recent posts of this site",),
    ),
    "wordpress, old caption": framed(
        f"""<div class="post">{prose(1)}<div class="wp-caption aligncenter" style="width: 610px"><a
 href="/up/pier.jpg"><img class="size-medium" src="/up/pier-600x400.jpg" width="600" height="400"></a><p class="wp-caption-text">The pier
 in winter</p></div>{prose(2)}</div><div class="sharedaddy"><img src="/img/share-facebook.png" width=32 height=32>Share this with friends</div>""",
        ["pier-600x400.jpg"],
        ["The pier in winter", "Paragraph 2."],
        ("share-facebook.png",),
        ("Share this with friends",),
    ),
    "news, picture and sources": framed(
        f"""<main><article><h1>Storm</h1><picture><source media="(min-width:1000px)"
 srcset="//ichef.example/news/976/storm-976.jpg.webp 976w, //ichef.example/news/480/storm-480.jpg.webp 480w" type="image/webp"><img
 src="{BLANK}" alt="Waves"></picture>{prose(1)}<div class="advert ad-slot"><img src="/ads/banner-300.gif" width=300 height=250>Advertisement here
</div>{prose(2)}<aside class="related"><h2>More on this story</h2></aside></article></main><div id="cookie-banner" role="dialog">We use many
 cookies<button>Accept all of them</button></div>""",
        ["storm-976.jpg.webp"],
        ["Paragraph 1.", "Paragraph 2."],
        ("banner-300.gif",),
        ("Advertisement here", "We use many cookies", "Accept all of them", "More on this story"),
    ),
    "medium-like, noscript after placeholder": framed(
        f"""<article><h1>Walk</h1>{prose(1)}<figure><div class="lazy-image"><div><img
 src="https://miro.example/freeze/max/60/walk-small.jpeg?q=20" width="700" height="467"></div><noscript><img
 src="https://miro.example/freeze/max/60/walk-small.jpeg?q=20" srcset="https://miro.example/max/552/walk.jpeg 552w,
 https://miro.example/max/1400/walk.jpeg 1400w" sizes="700px"></noscript></div><figcaption>On the dyke</figcaption></figure>{prose(2)}</article>""",
        ["walk.jpeg"],
        ["On the dyke", "Paragraph 1."],
    ),
    "mediawiki": framed(
        f"""<div id="content" class="mw-body" role="main"><h1>Harbour</h1><div id="bodyContent"><div class="thumb tright"><div
 class="thumbinner"><a href="/wiki/File:Quay.jpg" class="image"><img src="//upload.example/thumb/a/ab/Quay.jpg/220px-Quay.jpg" width="220"
 height="146" srcset="//upload.example/thumb/a/ab/Quay.jpg/330px-Quay.jpg 1.5x, //upload.example/thumb/a/ab/Quay.jpg/440px-Quay.jpg 2x"></a>
<div class="thumbcaption">The quay from above</div></div></div>{prose(1)}<h2>History<span class="mw-editsection">[edit source]</span></h2>{prose(2)}
<table class="infobox"><tr><td><a class="image"><img src="//upload.example/thumb/c/cd/Map.png/250px-Map.png" width=250></a></td></tr></table>
</div></div><div id="mw-navigation"><div role="navigation">Tools and pages</div></div>""",
        ["440px-Quay.jpg", "250px-Map.png"],
        ["The quay from above", "Paragraph 2."],
        (),
        ("Tools and pages", "edit source"),
    ),
    "discuz forum": framed(
        f"""<div id="postlist"><table><tr><td class="plc"><div class="t_fsz"><table><tr><td class="t_f">{LONG}<br>
<img id="aimg_1" aid="1" src="static/image/common/none.gif" zoomfile="data/attachment/fish.jpg" file="data/attachment/fish.jpg" class="zoom"
 width="600"><br>Second line of the post about fish</td></tr></table></div></td></tr></table></div>""",
        ["fish.jpg"],
        ["The old harbour lies", "Second line of the post about fish"],
    ),
    "shop, widths in srcset": framed(
        f"""<main id="MainContent"><div class="product__media"><img srcset="//cdn.example/s/files/1/rope.jpg?width=246 246w,
 //cdn.example/s/files/1/rope.jpg?width=1445 1445w" src="//cdn.example/s/files/1/rope.jpg?width=1946" sizes="700px" alt="Rope"></div>
<div class="product__description">{prose(1)}</div></main>""",
        ["rope.jpg"],
        ["Paragraph 1."],
    ),
    "blogger table": framed(
        f"""<div class="post-body"><table class="tr-caption-container"><tbody><tr><td><a href="https://b.example/s1600/hut.JPG"><img
 src="https://b.example/s400/hut.JPG" width="400" height="300"></a></td></tr><tr><td class="tr-caption">A hut by the sea</td></tr></tbody></table>
{prose(1)}</div>""",
        ["hut.JPG"],
        ["A hut by the sea", "Paragraph 1."],
    ),
    "page builder, backgrounds": framed(
        f"""<div class="elementor"><section class="hero" style="background-image:url('/img/hero-bay.jpg')"><h1>Bay</h1>
</section><div class="elementor-widget-container">{prose(1)}<div class="gallery-item" data-bg="/img/cliff.webp"></div></div></div>""",
        ["hero-bay.jpg", "cliff.webp"],
        ["Paragraph 1."],
    ),
    "next.js": framed(
        f"""<main>{prose(1)}<span style="display:inline-block"><img alt="Tide" src="{BLANK}" decoding="async"><noscript><img alt="Tide"
 srcset="/_next/image?url=%2Ftide.jpg&amp;w=640&amp;q=75 1x, /_next/image?url=%2Ftide.jpg&amp;w=1200&amp;q=75 2x"
 src="/_next/image?url=%2Ftide.jpg&amp;w=1200&amp;q=75"></noscript></span></main>""",
        ["image"],
        ["Paragraph 1."],
    ),
    "amp": framed(
        f"""<article>{prose(1)}<amp-img src="/img/gull.jpg" srcset="/img/gull-2x.jpg 2x, /img/gull.jpg 1x" width="800" height="600"
 layout="responsive"><noscript><img src="/img/gull.jpg"></noscript></amp-img></article>""",
        ["gull-2x.jpg"],
        ["Paragraph 1."],
    ),
    "squarespace": framed(
        f"""<div class="sqs-block-image"><figure class="sqs-block-image-figure"><noscript><img src="https://s.example/content/oar.jpg">
</noscript><img class="thumb-image" data-src="https://s.example/content/oar.jpg" data-image="https://s.example/content/oar.jpg"
 data-image-dimensions="1500x1000"><figcaption class="image-caption-wrapper"><p>An oar on the wall</p></figcaption></figure></div>{prose(1)}""",
        ["oar.jpg"],
        ["An oar on the wall", "Paragraph 1."],
    ),
    "tracker and base": Template(
        f"""<html><head><base href="https://cdn.example/blog/"></head><body><article><h1>Log</h1>{prose(1)}<img
 src="2024/log.png">{prose(2)}</article><img src="https://stats.example/t.gif" width="1" height="1"></body></html>""",
        ["log.png"],
        ["t.gif"],
        ["Paragraph 2."],
        [],
    ),
    "data-src of a zhihu-like page": framed(
        f"""<div class="RichText">{prose(1)}<figure><img src="data:image/svg+xml;utf8,&lt;svg/&gt;" width="720"
 data-original="https://pic.example/v2-sail_r.jpg" data-actualsrc="https://pic.example/v2-sail_b.jpg"></figure></div>""",
        ["v2-sail_r.jpg"],
        ["Paragraph 1."],
    ),
}
