#!/usr/bin/perl

# The shared table of the quickstart, in a real Chromium. If this fails, a
# newcomer who edits it in two tabs does not see the lock, the merge or the
# conflict, or loses what was written.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Tabs;

my $conf = quickstart();

# a browser keeps a spare connection without a request, see page.t

$conf =~ s/http \{/http { client_header_timeout 3s;/ or die 'no http';

my $nginx = Fanout::Nginx->start(conf => $conf);
my $tabs  = Fanout::Tabs->start;

sub box  { "td[data-cell=\"$_[0]\"] input" }
sub text { $tabs->evaluate($_[0], "document.querySelector('"
                                  . box($_[1]) . "').value") }

# the classes of a cell, and who holds it

sub cell {
    my ($tab, $at) = @_;

    return $tabs->evaluate($tab,
        "[document.querySelector('td[data-cell=\"$at\"]')]
         .map((td) => [td.className, td.dataset.holder])[0]");
}

sub write_in {
    my ($tab, $at, $text) = @_;

    $tabs->fill($tab, box($at), $text);
    $tabs->press($tab, box($at), 'Enter');
}

sub shows {
    my ($tab, $at, $text, $name) = @_;

    ok(wait_for(sub { text($tab, $at) eq $text }), $name)
        or diag("$tab: $at: " . text($tab, $at));
}

sub state_of { $tabs->texts($_[0], '#state')->[0] }


for my $tab (qw( ann bob )) {
    $tabs->open($tab, $nginx->uri('/table.html'));
    $tabs->wait($tab, '#state', 'connected');
    $tabs->fill($tab, '#name', ucfirst $tab);
    $tabs->press($tab, '#name', 'Enter');
    $tabs->wait($tab, '#state', 'connected');
}

ok(wait_for(sub { @{ $tabs->texts('bob', '#rows tr') } == 3 }),
   'there are rows for who comes first');
shows('bob', 'row-1.task', 'Write the docs', 'with what is to do');


# a lock

$tabs->click('ann', box('row-1.who'));
ok(wait_for(sub { cell('bob', 'row-1.who')->[1] eq 'Ann' }),
   'a cell that is edited has the name of who does');
ok($tabs->evaluate('bob', "document.querySelector('"
                          . box('row-1.who') . "').readOnly"),
   'and can\'t be edited by the other one');

write_in('ann', 'row-1.who', 'Ann');
shows('bob', 'row-1.who', 'Ann', 'what was written comes to the other tab');
ok(wait_for(sub { cell('bob', 'row-1.who')->[1] eq '' }),
   'the lock is released with it');

$tabs->click('ann', box('row-2.who'));
ok(wait_for(sub { cell('bob', 'row-2.who')->[1] eq 'Ann' }), 'another cell');
$tabs->press('ann', box('row-2.who'), 'Escape');
ok(wait_for(sub { cell('bob', 'row-2.who')->[1] eq '' }), 'is let go again');


# a merge

sub offline {
    $tabs->click('ann', '#offline');
    ok(wait_for(sub { state_of('ann') eq 'offline' }), 'one is offline');
}

offline();
write_in('ann', 'row-2.who', 'Ann');
like(cell('ann', 'row-2.who')->[0], qr/unsent/, 'a change is kept');
write_in('bob', 'row-2.state', 'doing');
shows('bob', 'row-2.state', 'doing', 'the other one changes another cell');
isnt(text('ann', 'row-2.state'), 'doing', 'which is not seen offline');

$tabs->click('ann', '#offline');
shows($_, 'row-2.who', 'Ann', 'after it, both changes are there')
    for qw( ann bob );
shows('ann', 'row-2.state', 'doing', 'for both');
ok($tabs->wait('ann', '#notes', 'Merged'), 'that is told');


# a conflict

offline();
write_in('ann', 'row-3.state', 'mine');
write_in('bob', 'row-3.state', 'theirs');
shows('bob', 'row-3.state', 'theirs', 'the other one changes the same cell');

$tabs->click('ann', '#offline');
ok($tabs->wait('ann', '#conflicts li', 'Bob wrote'), 'the conflict is told');
$tabs->screenshot('ann', $ENV{SCREENSHOT}, 1) if $ENV{SCREENSHOT};
like($tabs->texts('ann', '#conflicts li')->[0], qr/mine.*theirs/s,
     'with both');
shows('ann', 'row-3.state', 'theirs', 'nothing is overwritten');

$tabs->evaluate('ann', "document.querySelector('#conflicts button').click()");
shows('bob', 'row-3.state', 'mine', 'until one decides');
is_deeply($tabs->texts('ann', '#conflicts li'), [], 'then it is gone');


# rows; who comes later; HTML

$tabs->click('bob', '#add');
ok(wait_for(sub { @{ $tabs->texts('ann', '#rows tr') } == 4 }), 'a new row');

write_in('bob', 'row-1.task', '<b>bold</b>');
shows('ann', 'row-1.task', '<b>bold</b>', 'text is text');

$tabs->open('eve', $nginx->uri('/table.html'));
$tabs->wait('eve', '#state', 'connected');
shows('eve', 'row-3.state', 'mine', 'who comes later sees all');


# a reload of NGINX

$nginx->reload(wait_old => 1);
ok(wait_for(sub { !grep { state_of($_) ne 'connected' } qw( ann bob eve ) },
            30), 'all are back after a reload');
write_in('ann', 'row-1.state', 'done');
shows('bob', 'row-1.state', 'done', 'and go on');


# on a phone

$tabs->resize('ann', 360, 700);
ok($tabs->evaluate('ann', 'document.documentElement.scrollWidth') <= 360,
   'nothing has to be scrolled sideways');

is_deeply($tabs->axe('ann'), [], 'it can be used by all');

is_deeply($tabs->errors($_), [], "the console of $_ has no errors")
    for qw( ann bob eve );

done_testing();
