#!/usr/bin/perl

# The page of the quickstart, in a real Chromium. If this fails, the first thing
# a newcomer sees does not work: two tabs don't hear each other, a cut
# connection loses what was said meanwhile, a reload of NGINX is noticed, a
# phone has to scroll sideways, a message can put HTML into the page, or the page
# shows somebody who is not there, or not somebody who is.

use strict;
use warnings;

use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Tabs;

# nobody's speed matters while the linger is long; a reload makes it short

my $conf = quickstart();
(my $patient = $conf) =~ s/linger=5s/linger=100s/ or die 'no linger';
(my $hasty   = $conf) =~ s/linger=5s/linger=1s/;

# A browser keeps a spare connection without a request, which holds an old
# worker for as long as this: 60 seconds, and the test waits for old workers.

s/http \{/http { client_header_timeout 3s;/ or die 'no http'
    for $patient, $hasty;

my $nginx = Fanout::Nginx->start(conf => $patient);
my $http  = $nginx->http;
my $tabs  = Fanout::Tabs->start;

my $said = '#log .said';


# a tab whose connections are all with one worker

sub open_on {
    my ($worker, $tab) = @_;

    for my $try (1 .. 5) {
        my @others = grep { $_ != $worker } $nginx->worker_pids;

        # one that was stopped inside a lock of the zone holds up all

        $nginx->signal($_, 'STOP') for @others;
        wait_for(sub { !grep { !Fanout::Nginx::halted($_) } @others });
        my $opened = eval {
            $tabs->open($tab, $nginx->uri('/'));
            $tabs->wait($tab, '#state', 'connected');
        };
        $nginx->signal($_, 'CONT') for @others;

        return 1 if $opened;
    }

    return 0;
}


sub say_in {
    my ($tab, $text) = @_;

    $tabs->fill($tab, '#text', $text);
    $tabs->press($tab, '#text', 'Enter');
}


# the status is told by each worker once a second

sub sessions {
    my $status = $http->get('/status')->json;
    my %n = map { $_->{pid} => $_->{sessions} } @{ $status->{workers} };

    return join ' ', map { $n{$_} } @_;
}


my ($one, $two) = $nginx->worker_pids;

ok(open_on($one, 'ann'), 'a tab on one worker connects');
ok(open_on($two, 'bob'), 'a tab on the other connects');

ok(wait_for(sub { sessions($one, $two) eq '1 1' }),
   'each worker has one of the two sessions')
    or diag(sessions($one, $two));

ok($tabs->texts('ann', '#client')->[0] =~ /^c_[0-9a-f]{16}$/,
   'a client id is shown');
isnt($tabs->texts('ann', '#client')->[0], $tabs->texts('bob', '#client')->[0],
     'each tab has its own');


# who is here

my $here = '#people li:not(.gone)';
my %name = (ann => 'Ann', bob => 'Bob');

sub people { join ' ', @{ $tabs->texts($_[0], "$here .face") } }

sub rename_to {
    my ($tab, $name) = @_;

    $tabs->fill($tab, '#name', $name);
    $tabs->press($tab, '#name', 'Enter');
    $tabs->wait($tab, '#state', 'connected');
    $tabs->wait($tab, "$here.you .face", uc substr $name, 0, 1);
}

sub colours {
    return $tabs->evaluate($_[0], "[...document.querySelectorAll('$here')]
        .map((e) => e.style.getPropertyValue('--slot'))");
}

rename_to($_, $name{$_}) for qw( ann bob );

ok(wait_for(sub { people('ann') eq 'A B' && people('bob') eq 'A B' }),
   'both tabs show both')
    or diag(people('ann'), ' / ', people('bob'));
is_deeply($tabs->texts('ann', "$here.you .called"), [ 'you' ], 'one is you');
is_deeply($tabs->texts('ann', "$here:not(.you) .called"), [ 'Bob' ],
          'the other has a name');

my $colours = colours('ann');

isnt($colours->[0], $colours->[1], 'each has a colour');
is_deeply(colours('bob'), $colours, 'the same in both tabs');
ok($tabs->wait('ann', '#log .note', 'Bob joined'), 'the feed tells who came');


# what they are doing

$tabs->fill('bob', '#text', 'hm');
ok($tabs->wait('ann', '#typing', 'Bob is typing'), 'ann sees bob typing');

$tabs->fill('bob', '#text', '');
ok(wait_for(sub { $tabs->texts('ann', '#typing')->[0] eq '' }),
   'and that he has stopped');

sub point_at {
    $tabs->evaluate('bob', "{
        const e = document.querySelector('#stage');
        const b = e.getBoundingClientRect();
        e.dispatchEvent(new PointerEvent('$_[0]', {
            clientX: b.left + b.width * ($_[1]),
            clientY: b.top + b.height * ($_[2]) })); 0 }");
}

sub pointer {
    return $tabs->evaluate('ann', "[...document.querySelectorAll('.cursor')]
        .map((e) => e.textContent + ' ' + e.style.left + ' ' + e.style.top)
        .join()");
}

point_at('pointermove', 0.25, 0.5);
ok(wait_for(sub { pointer() eq 'Bob 25% 50%' }), 'his pointer is seen')
    or diag(pointer());
point_at('pointermove', 0.75, 0.25);
ok(wait_for(sub { pointer() eq 'Bob 75% 25%' }), 'it moves')
    or diag(pointer());
point_at('pointerleave', 0, 0);
ok(wait_for(sub { pointer() eq '' }), 'and goes')
    or diag(pointer());


# both ways, and from a shell

say_in('ann', 'hello from ann');

ok($tabs->wait('bob', $said, 'hello from ann'), 'bob sees what ann says');
ok($tabs->wait('ann', '#log .mine .said', 'hello from ann'),
   'ann sees it as hers');

say_in('bob', '<img src=x onerror=alert(1)><b>bold</b>');

ok($tabs->wait('ann', $said, '<img src=x onerror=alert(1)><b>bold</b>'),
   'ann sees what bob says, letter by letter');
is($tabs->evaluate('ann',
       'document.querySelectorAll("#log b, #log img").length'),
   0, 'a message is text, never HTML');

my $curl = $tabs->texts('ann', '#curl')->[0];

like($curl, qr/^curl -d '/, 'a command for the shell is shown');

my $answer = `$curl -sS`;

is($?, 0, 'it runs');
my ($offset) = $answer =~ /"offset":(\d+)/;

ok($offset, 'and is answered by an offset');

ok($tabs->wait($_, $said, 'hello from curl'), "$_ sees what it said")
    for qw( ann bob );

ok($tabs->wait('ann', '#offset', $offset), 'the last offset is shown');
is($tabs->texts('ann', '#epoch')->[0], $tabs->texts('bob', '#epoch')->[0],
   'the epoch is that of the channel');


# a cut

my $client = $tabs->texts('ann', '#client')->[0];

my @before = @{ $tabs->texts('bob', '#log .note') };

$tabs->click('ann', '#cut');

ok($tabs->wait('ann', '#away', 'Others still see you for'),
   'ann is cut, and told how long she is kept');
is(people('bob'), 'A B', 'bob still sees her');

say_in('bob', 'said while cut, 1');
say_in('bob', 'said while cut, 2');

ok($tabs->wait('bob', $said, 'said while cut, 2'), 'bob goes on');
ok(!grep({ /while cut/ } @{ $tabs->texts('ann', $said) }),
   'ann does not hear it yet');

is(people('bob'), 'A B', 'nor does he miss her');

$tabs->click('ann', '#return');

ok($tabs->wait('ann', '#recovered', 'yes: 2 missed'),
   'back again, ann has recovered 2');
is_deeply($tabs->texts('ann', '#log li:has(.mark) .said'),
          [ 'said while cut, 1', 'said while cut, 2' ],
          'these are there, in order, and marked');
is($tabs->texts('ann', '#client')->[0], "$client (resumed)",
   'ann is who she was');

is_deeply($tabs->texts('bob', '#log .note'), \@before,
          'bob was told nothing of it');

say_in('bob', 'after the cut');

ok($tabs->wait('ann', $said, 'after the cut'), 'ann hears bob again');


# a whisper

$tabs->click('ann', "$here:not(.you) button");
say_in('ann', 'for bob alone');

ok($tabs->wait('bob', '#log .whisper .said', 'for bob alone'),
   'bob hears a whisper');
ok($tabs->wait('ann', '#log .whisper.mine', 'whispered to Bob'),
   'ann sees it sent');

$tabs->click('ann', '#aloud');


# a reload

my @notes = @{ $tabs->texts('bob', '#log .note') };

$nginx->reload(wait_old => 1);

ok($tabs->wait($_, '#log .note', 'NGINX was reloaded. Recovered: 0 missed'),
   "$_ comes back")
    for qw( ann bob );
ok($tabs->wait('bob', '#client', 'resumed'), 'bob is who he was');
is(people('bob'), 'A B', 'both are still here');
is(scalar(grep { / (?:joined|left)/ } @{ $tabs->texts('bob', '#log .note') }),
   scalar(grep { / (?:joined|left)/ } @notes), 'and never left');

say_in('ann', 'after the reload');

ok($tabs->wait($_, $said, 'after the reload'), "$_ hears ann")
    for qw( ann bob );

is_deeply($tabs->texts('ann', $said), $tabs->texts('bob', $said),
          'both have seen the same messages in the same order');


# a cut that lasts

$nginx->reload(conf => $hasty, wait_old => 1);

for my $tab (qw( ann bob )) {
    wait_for(sub {
        my @back = grep { /reloaded/ } @{ $tabs->texts($tab, '#log .note') };

        return @back == 2;
    });
    $tabs->wait($tab, '#state', 'connected');
}

$tabs->click('ann', '#cut');

ok($tabs->wait('bob', '#log .note', 'Ann left (network)'),
   'who stays away is seen leaving');
ok(wait_for(sub { people('bob') eq 'B' }), 'the picture goes');
ok($tabs->wait('ann', '#away', 'Others saw you leave'), 'ann is told so');

$tabs->click('ann', '#return');

ok($tabs->wait('bob', '#log .note', 'Ann joined'), 'and seen coming');
ok(wait_for(sub { people('bob') eq 'B A' }), 'with her picture')
    or diag(people('bob'));

my $palette = $tabs->evaluate('bob',
    'import("/room.js").then((m) => m.colours)');

# who changes the name may have come before leaving, and have a higher slot

is(colours('bob')->[1],
   (grep { $_ ne colours('bob')->[0] } @$palette)[0],
   'of the first colour that is free');


# another name, and somebody who comes later

$tabs->fill('ann', '#name', 'Ann of Green Gables');
$tabs->press('ann', '#name', 'Enter');

ok($tabs->wait('ann', '#state', 'connected'), 'ann has another name');

say_in('ann', 'who am I?');

ok($tabs->wait('bob', '#log .who', 'Ann of Green Gables'),
   'bob sees her by it');

$tabs->open('cat', $nginx->uri('/'), width => 360, height => 640,
            scheme => 'dark');

ok($tabs->wait('cat', $said, 'who am I?'),
   'who comes later sees what was said');

my $aloud = '#log li:not(.whisper) .said';

is_deeply($tabs->texts('cat', $aloud), $tabs->texts('bob', $aloud),
          'all of it');
ok(!grep({ /alone/ } @{ $tabs->texts('cat', $said) }), 'but no whisper');

ok(wait_for(sub { @{ colours('bob') } == 3 }), 'three are here');

my %seen = map { $_ => 1 } @{ colours('bob') };

is(keys %seen, 3, 'in three colours');


# widths

say_in('cat', 'x' x 300);
$tabs->wait('cat', $said, 'xxx');
$tabs->click('cat', '#people li:first-child button');
$tabs->click('cat', 'summary');

for my $width (360, 768, 1440) {
    $tabs->resize('cat', $width, 800);

    is($tabs->evaluate('cat', 'Math.max(document.body.scrollWidth,
                               document.documentElement.scrollWidth)'),
       $width, "$width pixels are enough");

    $tabs->screenshot('cat', "$ENV{TEST_SCREENSHOTS}/page-$width.png", 1)
        if $ENV{TEST_SCREENSHOTS};
}

$tabs->screenshot('ann', "$ENV{TEST_SCREENSHOTS}/page.png")
    if $ENV{TEST_SCREENSHOTS};

is_deeply($tabs->axe($_), [], "$_ can be used by all") for qw( cat ann );
is_deeply($tabs->errors('cat'), [], 'nothing in the console of cat');

$tabs->evaluate('cat', "document.querySelector('#stage').dispatchEvent(
    new PointerEvent('pointermove', { clientX: 30, clientY: 300 })); 0");
ok(wait_for(sub {
       $tabs->evaluate('bob', 'import("/room.js")
           .then((m) => m.pointers.size)') == 1 }),
   'the pointer of cat is seen');
$tabs->evaluate('bob', 'import("/room.js").then((m) => {
    for (const { timer } of m.pointers.values()) clearTimeout(timer); })');
$tabs->close('cat');

ok(wait_for(sub { @{ colours('bob') } == 2 }), 'a tab that is closed is gone');
is($tabs->evaluate('bob', 'document.querySelectorAll(".cursor").length'), 0,
   'and so is its pointer');

is_deeply($tabs->errors($_), [], "nothing in the console of $_")
    for qw( ann bob );
